//! Signals as things to poll for: a handler sets a bit and rings a bell, nothing more.
//!
//! One [`SignalBell`] serves a process at a time. A forked child has handlers and a bell that are its parent's: it calls
//! [`restore_defaults`] and installs its own when it can act on them. [`fork_blocked`] closes the gap between.
//!
//! Raw sigaction(2) and not the interpreter's `signal` module: Python runs its handlers only on the main thread between
//! two bytecodes, so a worker in a long call would not hear a signal.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::{
        OnceLock,
        atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};

use super::{Bell, copy};

/// One bit per signal number that has arrived and was not taken.
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// The descriptor of the bell in use; -1 when there is none.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// By signal number: the handler that is called after ours; 0: none.
static FOLLOWED: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// Handlers in place, and the bell they ring.
#[derive(Debug)]
pub struct SignalBell {
    bell: Bell,
    signals: SigSet,
}

impl SignalBell {
    /// Takes over the given signals, whoever handled them before: an application that was imported, the interpreter,
    /// a parent. System calls that a signal interrupts are restarted.
    pub fn install(signals: &[Signal]) -> io::Result<Self> {
        Self::install_before(&[], signals)
    }

    /// The same; what handles those of `followed` now is called after the bell was rung, if it is a handler that takes the
    /// number alone, as the interpreter's is.
    pub fn install_before(followed: &[Signal], signals: &[Signal]) -> io::Result<Self> {
        for signal in followed {
            let action = action_of(*signal as i32)?;
            let handler = action.sa_sigaction;
            let is_handler = !matches!(handler, libc::SIG_DFL | libc::SIG_IGN);
            let takes_more = action.sa_flags & libc::SA_SIGINFO != 0;
            if is_handler && !takes_more && handler != own_handler() {
                FOLLOWED[*signal as usize].store(handler, SeqCst);
            }
        }
        let bell = Bell::create()?;
        ARRIVED.store(0, SeqCst);
        BELL.store(bell.as_fd().as_raw_fd(), SeqCst);
        let installed = Self {
            bell,
            signals: signals.iter().copied().collect(),
        };
        installed.reclaim()?;
        Ok(installed)
    }

    /// Puts the handlers back in place, after code ran that may have set its own.
    pub fn reclaim(&self) -> io::Result<()> {
        set(&self.signals, SigHandler::Handler(on_signal))
    }

    /// The signals that arrived since the last call, each once, lowest number first.
    pub fn take(&self) -> Vec<Signal> {
        // Drained first: a signal in between rings again, and costs one empty wake-up.
        self.bell.drain();
        let arrived = ARRIVED.swap(0, SeqCst);
        Signal::iterator()
            .filter(|signal| arrived & bit(*signal as i32) != 0)
            .collect()
    }
}

impl AsFd for SignalBell {
    /// Readable when a signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Drop for SignalBell {
    fn drop(&mut self) {
        let own = self.bell.as_fd().as_raw_fd();
        // Only while it is still this bell: another may have been installed since.
        let _ = BELL.compare_exchange(own, -1, SeqCst, SeqCst);
    }
}

/// As if the signal had arrived: for a handler that stands in the place of ours, which is told of it by itself. In a copy of the process, whose
/// bell this is not, the signal does what it does by default.
pub fn deliver(number: i32) -> io::Result<()> {
    let signal = Signal::try_from(number)?;
    if copy::is_copy() {
        set(&SigSet::from(signal), SigHandler::SigDfl)?;
        return Ok(nix::sys::signal::raise(signal)?);
    }
    if action_of(number)?.sa_sigaction != own_handler() {
        ARRIVED.fetch_or(bit(number), SeqCst);
        ring();
    }
    Ok(())
}

/// Gives the signals their default meaning again. In a forked child: before it does anything else.
pub fn restore_defaults(signals: &[Signal]) -> io::Result<()> {
    BELL.store(-1, SeqCst);
    ARRIVED.store(0, SeqCst);
    set(&signals.iter().copied().collect(), SigHandler::SigDfl)
}

/// In a copy of the process: has the signals that end a process end it, where they would ring the bell, and leaves the bell
/// to its owner. Async-signal-safe.
pub(super) fn let_copies_end() {
    BELL.store(-1, SeqCst);
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: all zeros is a valid sigaction, and both calls touch nothing but it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let is_read = libc::sigaction(number, std::ptr::null(), &raw mut action) == 0;
            if is_read && action.sa_sigaction == own_handler() {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(number, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

/// From now on the signals do nothing to this process. To the programs that it starts they do what they always did, which is
/// not so for signals that are ignored.
pub fn disregard(signals: &[Signal]) -> io::Result<()> {
    set(
        &signals.iter().copied().collect(),
        SigHandler::Handler(do_nothing),
    )
}

/// Runs `fork` with all signals held back, and lets them through again in the parent; `in_child` runs in the child before
/// it gets any. So a signal meant for the child, sent the moment it exists, never meets the parent's handler.
///
/// `fork` says whether it returns in the child.
pub fn fork_blocked<T, E>(
    fork: impl FnOnce() -> Result<T, E>,
    is_child: impl FnOnce(&T) -> bool,
    in_child: impl FnOnce(),
) -> Result<T, E> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let forked = copy::fork_own(fork);
    if forked.as_ref().is_ok_and(is_child) {
        in_child();
    }
    if let Some(mask) = before {
        let _ = mask.thread_set_mask();
    }
    forked
}

/// Runs it with all signals held back: threads that it starts never take any.
pub fn without_signals<T>(run: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let result = run();
    if let Some(mask) = before {
        let _ = mask.thread_set_mask();
    }
    result
}

/// Runs a system call that raises SIGPIPE when the peer is gone, with no flag against it, and lets nobody hear the signal. The
/// interpreter ignores it, but an app may have asked for it.
pub(super) fn without_sigpipe<T>(call: impl FnOnce() -> T) -> T {
    let pipe = SigSet::from(Signal::SIGPIPE);
    let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let result = call();
    let Some(before) = before.filter(|before| !before.contains(Signal::SIGPIPE)) else {
        return result;
    };
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // One that is pending is taken, whatever the call returns: a part may have gone out before the peer was gone.
    // SAFETY: the set and the time are read, and no answer is asked for.
    unsafe { libc::sigtimedwait(pipe.as_ref(), std::ptr::null_mut(), &raw const at_once) };
    let _ = before.thread_set_mask();
    result
}

/// Lets the signals wait, for this thread and the program that it becomes, until [`release_signals`].
pub fn hold_signals(signals: &[Signal]) -> io::Result<()> {
    let signals: SigSet = signals.iter().copied().collect();
    Ok(signals.thread_block()?)
}

/// Those that waited arrive now.
pub fn release_signals(signals: &[Signal]) -> io::Result<()> {
    let signals: SigSet = signals.iter().copied().collect();
    Ok(signals.thread_unblock()?)
}

/// The signal at which a worker writes its Python stacks: SIGRTMAX-4. A real-time signal, since all the others mean something
/// to somebody, and none of those near the ends, which libraries and debuggers take first.
pub const STACKS_SIGNAL: libc::c_int = 60;

/// The handler that was there, and what comes after it.
static BEFORE: AtomicUsize = AtomicUsize::new(0);
static AFTER: OnceLock<fn()> = OnceLock::new();

/// Lets the handler that a signal has be followed by `then`, which has to be async-signal-safe, and by the bell. For one
/// signal of the process. System calls that it interrupts are restarted where the kernel can.
///
/// faulthandler could call ours itself, with `chain=True`; but then it does not restart system calls, and takes its own
/// handler out for the time being.
pub fn ring_after(number: libc::c_int, then: fn()) -> io::Result<()> {
    let _ = AFTER.set(then);
    // SAFETY: both structures are ours; zeroed, they are valid ones. The new handler calls the old one as the kernel would
    // have, and does nothing else that is not async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        super::check(libc::sigaction(number, std::ptr::null(), &raw mut action))?;
        let is_plain = action.sa_flags & libc::SA_SIGINFO == 0;
        let is_handler = !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
        if !is_plain || !is_handler {
            return Err(io::Error::other("the signal has no handler to follow"));
        }
        if action.sa_sigaction != ring_after_handler as *const () as usize {
            BEFORE.store(action.sa_sigaction, SeqCst);
        }
        action.sa_sigaction = ring_after_handler as *const () as usize;
        action.sa_flags |= libc::SA_RESTART;
        super::check(libc::sigaction(
            number,
            &raw const action,
            std::ptr::null_mut(),
        ))?;
    }
    Ok(())
}

extern "C" fn ring_after_handler(number: libc::c_int) {
    let saved_errno = nix::errno::Errno::last_raw();
    let before = BEFORE.load(SeqCst);
    if before != 0 {
        // SAFETY: it was this signal's handler, of the kind that takes its number alone.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(before) };
        handler(number);
    }
    if let Some(then) = AFTER.get() {
        then();
    }
    ring();
    nix::errno::Errno::set_raw(saved_errno);
}

extern "C" fn on_signal(number: libc::c_int) {
    let saved_errno = nix::errno::Errno::last_raw();
    ARRIVED.fetch_or(bit(number), SeqCst);
    ring();
    let next = (FOLLOWED.get(number as usize)).map_or(0, |followed| followed.load(SeqCst));
    if next != 0 {
        // SAFETY: it was this signal's handler, of the kind that takes its number alone.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(next) };
        handler(number);
    }
    nix::errno::Errno::set_raw(saved_errno);
}

fn own_handler() -> usize {
    on_signal as *const () as usize
}

/// What handles the signal now.
fn action_of(number: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all zeros is a valid sigaction, and the call writes to nothing else.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        super::check(libc::sigaction(number, std::ptr::null(), &raw mut action))?;
        Ok(action)
    }
}

fn ring() {
    let descriptor = BELL.load(SeqCst);
    if descriptor >= 0 {
        let one = 1u64.to_ne_bytes();
        // SAFETY: write(2) is async-signal-safe and reads eight bytes that live on this stack. Were the descriptor just
        // closed, it fails; a bell is dropped only where its process stops using signals.
        let _ = unsafe { libc::write(descriptor, one.as_ptr().cast(), one.len()) };
    }
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Signal numbers are 1 to 64.
fn bit(number: libc::c_int) -> u64 {
    1 << (number - 1)
}

fn set(signals: &SigSet, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in signals {
        // SAFETY: the handlers are async-signal-safe: one touches two atomics and calls write(2), the other does nothing.
        unsafe { nix::sys::signal::sigaction(signal, &action) }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_signal_is_told_once_until_it_arrives_again() {
        let bell = SignalBell::install(&[Signal::SIGUSR2, Signal::SIGWINCH]).unwrap();
        assert_eq!(bell.take(), []);
        raise(Signal::SIGWINCH).unwrap();
        raise(Signal::SIGUSR2).unwrap();
        raise(Signal::SIGUSR2).unwrap();
        assert_eq!(bell.take(), [Signal::SIGUSR2, Signal::SIGWINCH]);
        assert_eq!(bell.take(), []);
        raise(Signal::SIGUSR2).unwrap();
        assert_eq!(bell.take(), [Signal::SIGUSR2]);
    }
}
