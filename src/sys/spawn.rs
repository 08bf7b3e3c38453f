//! Starting another program as a child that has exactly what it is meant to have.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{SigHandler, Signal},
};

use super::{Identity, PidFd, naming_task_limit};

/// What a child gets beside its program, arguments, environment and directory.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// The one descriptor beside the standard three that stays open, under the same number. Not one of those three,
    /// which the runtime opened before anything else could.
    pub descriptor: Option<OwnedFd>,
    pub identity: Option<Identity>,
    /// Bits that new files do not get.
    pub umask: Option<u32>,
    /// Signals that the child ignores from its first instruction on.
    pub ignored: Vec<Signal>,
}

/// Starts the program in a process group of its own, with every other descriptor closed, whether it was marked so or
/// not. Fails when the program could not be executed; no child is left then.
pub fn spawn(mut command: Command, inheritance: Inheritance) -> io::Result<(u32, PidFd)> {
    command.process_group(0);
    // SAFETY: what runs between fork and exec makes system calls only; it neither allocates nor takes a lock. The
    // closure owns what it uses.
    unsafe { command.pre_exec(move || prepare(&inheritance)) };
    let mut child = command.spawn().map_err(naming_task_limit)?;
    // The child is not reaped before this process polls for it, so the pid cannot have another owner yet.
    match PidFd::open(child.id()) {
        Ok(pidfd) => Ok((child.id(), pidfd)),
        Err(error) => {
            let _gone_already = child.kill();
            let _reaped_already = child.wait();
            Err(error)
        }
    }
}

/// Runs in the child before exec.
fn prepare(inheritance: &Inheritance) -> io::Result<()> {
    close_on_exec_from(3);
    if let Some(descriptor) = &inheritance.descriptor {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    for signal in &inheritance.ignored {
        // SAFETY: ignoring a signal runs no code.
        unsafe { nix::sys::signal::signal(*signal, SigHandler::SigIgn) }?;
    }
    if let Some(bits) = inheritance.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(bits));
    }
    inheritance
        .identity
        .as_ref()
        .map_or(Ok(()), Identity::assume)
}

/// Marks every descriptor from `first` on. Needs Linux 5.11; on an older kernel, what others opened for us without
/// the mark stays open, which is what every other server does too.
fn close_on_exec_from(first: libc::c_uint) {
    let last = libc::c_uint::MAX;
    // SAFETY: close_range(2) with CLOEXEC closes nothing now, and touches no memory.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}
