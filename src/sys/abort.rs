//! SIGABRT as a thing to wait for, so that something can be done before the process dies of it.
//!
//! Apart from [`super::SignalBell`]: a process that is aborted is stuck, and may not come to look at its other signals.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicI32, Ordering::SeqCst},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction},
};

use super::Bell;

/// The descriptor of the bell; -1 when there is none.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Rung by SIGABRT, which then no longer ends the process: whoever waits does, with [`AbortBell::die`]. abort(3) still
/// does by itself.
#[derive(Debug)]
pub struct AbortBell(Bell);

impl AbortBell {
    /// Handlers installed after this one may hand the signal on to it.
    pub fn install() -> io::Result<Self> {
        let bell = Bell::create()?;
        BELL.store(bell.as_fd().as_raw_fd(), SeqCst);
        let handler = SigHandler::Handler(on_abort);
        set(handler)?;
        Ok(Self(bell))
    }

    /// Until the signal arrives.
    pub fn wait(&self) {
        while !self.0.drain() {
            let mut entries = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            // Interrupted or not: the bell is looked at.
            let _ = poll(&mut entries, PollTimeout::NONE);
        }
    }

    /// Dies of the signal, as it would have done without the bell.
    pub fn die(&self) -> ! {
        let _ = set(SigHandler::SigDfl);
        let _unblocked = SigSet::from(Signal::SIGABRT).thread_unblock();
        let _ = raise(Signal::SIGABRT);
        // abort(3) unblocks the signal and takes its handler away.
        std::process::abort();
    }
}

impl Drop for AbortBell {
    fn drop(&mut self) {
        BELL.store(-1, SeqCst);
    }
}

/// In a copy of the process: leaves the bell to its owner. Async-signal-safe.
pub(super) fn leave_to_owner() {
    BELL.store(-1, SeqCst);
}

fn set(handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler is async-signal-safe: it reads an atomic and calls write(2).
    unsafe { sigaction(Signal::SIGABRT, &action) }?;
    Ok(())
}

extern "C" fn on_abort(_: libc::c_int) {
    let saved_errno = nix::errno::Errno::last_raw();
    let descriptor = BELL.load(SeqCst);
    if descriptor >= 0 {
        let one = 1u64.to_ne_bytes();
        // SAFETY: write(2) is async-signal-safe and reads eight bytes that live on this stack.
        let _ = unsafe { libc::write(descriptor, one.as_ptr().cast(), one.len()) };
    }
    nix::errno::Errno::set_raw(saved_errno);
}
