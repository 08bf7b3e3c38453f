//! Processes: a handle that cannot be confused by a reused pid, reaping, and what an exit status means.

use std::{
    fmt::Display,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, waitid},
    },
};

/// A pidfd: names one process for as long as it is held, even after its pid was given to another. Readable once the
/// process has exited.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this pid now; meant for a child that was not reaped yet, whose pid nobody else can get.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
        let descriptor = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the kernel has just opened this descriptor for us (close-on-exec), and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor as i32) }))
    }

    /// A pidfd that another process opened and sent.
    pub fn received(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Whether the process has exited, reaped or not.
    pub fn has_ended(&self) -> bool {
        let mut entries = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut entries, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether it is a child of this process that was not reaped yet.
    pub fn is_child(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::PIDFd(self.as_fd()), look).is_ok()
    }

    /// Whether it may be a child of this process or of `parent`: what another process sent may be anything. One that has ended, or that
    /// cannot be looked at, may be.
    pub fn may_be_child_of(&self, parent: Option<&Self>) -> bool {
        let Some(pid) = self.pid_in_proc() else {
            return false;
        };
        let ourselves = std::fs::read_link("/proc/self").ok();
        let ourselves = ourselves.and_then(|link| link.to_str()?.parse().ok());
        let parents = [ourselves, parent.and_then(Self::pid_in_proc)];
        // The pid may have become another's while it was looked up, but only after the end of this one.
        parent_of(pid).is_none_or(|found| parents.contains(&Some(found))) || self.has_ended()
    }

    /// The pid by which `/proc` knows it, which may be that of another namespace; -1 after it was reaped. `None`: this is no pidfd,
    /// for nothing else has this line (proc_pid_fdinfo(5)).
    fn pid_in_proc(&self) -> Option<i32> {
        let place = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let told = std::fs::read_to_string(place).ok()?;
        let pid = told.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        pid.trim().parse().ok()
    }

    /// Sends a signal; a process that was reaped already yields `ESRCH`.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.signal_number(signal as i32)
    }

    /// The same for a signal without a name.
    pub fn signal_number(&self, number: i32) -> io::Result<()> {
        let descriptor = self.0.as_raw_fd();
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) reads `info` only when it is not null.
        check(unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, descriptor, number, no_info, 0)
        })?;
        Ok(())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

/// The kernel's id of the current thread.
pub fn thread_id() -> i32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// The C library's id of the current thread, which is also Python's, whatever `threading.get_ident` was patched to say.
pub fn thread_ident() -> u64 {
    // SAFETY: pthread_self(3) takes nothing and cannot fail.
    unsafe { libc::pthread_self() }
}

/// Sends a signal to one thread of this process.
pub fn signal_thread(thread: i32, number: i32) -> io::Result<()> {
    // SAFETY: tgkill(2) takes three integers; a thread that is gone is an error, not another thread: the process is named too.
    check(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, number) })?;
    Ok(())
}

/// Whether the process is stopped, by a signal or by a debugger; false for one that is gone.
pub fn is_stopped(pid: u32) -> bool {
    stat_of(pid).is_some_and(|stat| stat.starts_with(['T', 't']))
}

/// `None` for one that is gone or may not be looked at.
fn parent_of(pid: i32) -> Option<i32> {
    stat_of(pid)?.split(' ').nth(1)?.parse().ok()
}

/// What the kernel tells of a process, from its state on (proc_pid_stat(5)).
fn stat_of(pid: impl Display) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in parentheses and may hold any character.
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.to_owned())
}

/// What to do when fork(2) or clone(2) fails with EAGAIN: the error of the kernel names no limit.
pub const TASK_LIMIT_HELP: &str = "no more processes and threads are allowed: raise `TasksMax=` of the unit, the pids limit of the container or `ulimit -u`";

/// An error of starting a process, with what to do where a limit stands behind it.
pub fn naming_task_limit(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(error.kind(), format!("{error}, {TASK_LIMIT_HELP}"))
        }
        _ => error,
    }
}

/// Makes orphans below this process its children, so that workers whose generation died can still be reaped here.
pub fn become_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Whether this process is killed when its parent ends.
pub fn die_with_parent(dies: bool) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(dies.then_some(nix::sys::signal::Signal::SIGKILL))?;
    Ok(())
}

/// Reaps one child that has exited: its pid and waitpid(2)'s raw status. `None` when there is none. Never blocks.
pub fn reap_any() -> Option<(u32, i32)> {
    reap_any_measured().map(|(pid, status, _)| (pid, status))
}

/// The same, with the most memory that the child, or a child that it waited for, ever had resident, bytes.
pub fn reap_any_measured() -> Option<(u32, i32, u64)> {
    loop {
        let mut status = 0;
        // SAFETY: wait4(2) writes one int and one rusage to the addresses it is given; a zeroed rusage is a valid one.
        let (pid, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            let pid = libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage);
            (pid, usage)
        };
        if pid == -1 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        let peak_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
        return u32::try_from(pid)
            .ok()
            .filter(|pid| *pid != 0)
            .map(|pid| (pid, status, peak_bytes));
    }
}

/// waitpid(2)'s raw status in words: `exit code 3`, `signal SIGKILL`, `signal SIGSEGV (core dumped)`.
pub fn describe_exit(status: i32) -> String {
    if libc::WIFEXITED(status) {
        return format!("exit code {}", libc::WEXITSTATUS(status));
    }
    let number = libc::WTERMSIG(status);
    let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
    let core = if libc::WCOREDUMP(status) {
        " (core dumped)"
    } else {
        ""
    };
    format!("signal {name}{core}")
}

/// The exit code in waitpid(2)'s raw status; `None` when a signal ended the process.
pub fn exit_code(status: i32) -> Option<i32> {
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Ends the process at once: no destructor, no `atexit` handler, no thread is asked.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) does not return and runs none of our code.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_is_told_in_words() {
        assert_eq!(describe_exit(3 << 8), "exit code 3");
        assert_eq!(describe_exit(9), "signal SIGKILL");
        assert_eq!(describe_exit(11 | 0x80), "signal SIGSEGV (core dumped)");
        assert_eq!(describe_exit(34), "signal 34");
        assert_eq!(exit_code(4 << 8), Some(4));
        assert_eq!(exit_code(9), None);
    }

    #[test]
    fn only_a_limit_of_processes_is_named() {
        let named = |errno| naming_task_limit(io::Error::from_raw_os_error(errno)).to_string();
        assert!(named(libc::EAGAIN).contains("TasksMax="));
        assert_eq!(
            named(libc::ENOENT),
            "No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_child_is_known_from_a_stranger() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        assert!(pidfd.is_child() && pidfd.may_be_child_of(None));
        let ourselves = PidFd::open(std::process::id()).unwrap();
        assert!(!ourselves.is_child() && !ourselves.may_be_child_of(Some(&pidfd)));
        let parent = PidFd::open(nix::unistd::getppid().as_raw().cast_unsigned()).unwrap();
        assert!(ourselves.may_be_child_of(Some(&parent)));
        // The kernel would signal the process that this stands for, too.
        let folder = std::fs::File::open("/proc/self").unwrap();
        assert!(!PidFd::received(folder.into()).may_be_child_of(Some(&parent)));
        child.kill().unwrap();
        while !pidfd.has_ended() {}
        assert!(pidfd.is_child(), "until it is reaped");
        child.wait().unwrap();
        assert!(!pidfd.is_child());
        assert!(pidfd.may_be_child_of(None), "it is nobody's any more");
    }

    #[test]
    fn a_signal_reaches_the_process_that_the_pidfd_names() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        pidfd.signal(Signal::SIGKILL).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGKILL)
        );
        assert_eq!(
            pidfd.signal(Signal::SIGKILL).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }
}
