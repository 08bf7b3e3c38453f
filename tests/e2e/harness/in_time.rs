//! Programs that a test runs to their end, which must come.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How long the slowest of them, which look at a terminal for many seconds, may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

pub trait InTime {
    /// As [`Command::output`]. When the program has not ended after two minutes, it and what it started are killed.
    fn output_in_time(&mut self) -> io::Result<Output>;
}

impl InTime for Command {
    fn output_in_time(&mut self) -> io::Result<Output> {
        self.stdin(Stdio::null());
        self.stdout(Stdio::piped()).stderr(Stdio::piped());
        wait_in_time(self.process_group(0).spawn()?)
    }
}

/// The same for a child that has been started already, as the leader of a process group.
pub fn wait_in_time(child: Child) -> io::Result<Output> {
    let group = Pid::from_raw(child.id().cast_signed());
    let (ended, is_over) = mpsc::channel::<()>();
    let killer = thread::spawn(move || {
        if is_over.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output();
    drop(ended);
    killer.join().unwrap();
    output
}

/// Whether a command that runs its last arguments, such as `unshare`, may do so here.
pub fn can_run(wrapper: &[&str]) -> bool {
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .output_in_time();
    let can = output.is_ok_and(|output| output.status.success() && output.stderr.is_empty());
    if !can {
        eprintln!("`{}` is not allowed here: skipped", wrapper.join(" "));
    }
    can
}
