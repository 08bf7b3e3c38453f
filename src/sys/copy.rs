//! Copies of a worker: the processes that the app forks off with `os.fork()`, multiprocessing and the like.
//!
//! A copy has the worker's memory and descriptors, and must not act for it. It knows that it is a copy; it lacks the
//! descriptors that would have clients wait for it, their connections among them, or take events from the worker; TERM,
//! INT and QUIT end it, as they end any process; and when it crashes, no stack is written in the worker's name.
//! pthread_atfork(3) does this, before anything else runs in the copy. A preloaded app may fork in the generation, too; the
//! workers that this forks are no copies.

use std::{
    cell::Cell,
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Once,
        atomic::{
            AtomicBool, AtomicI32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{abort, lent, signal};

/// Descriptors with numbers below this can be kept from copies: twice as many as a worker may have connections. Those beyond
/// are shared with them.
const NUMBERS_MAX: usize = 128 * 1024;

static IS_COPY: AtomicBool = AtomicBool::new(false);
/// What is written to this descriptor goes to a copy's standard error; -1: there is none.
static STACKS: AtomicI32 = AtomicI32::new(-1);

thread_local! {
    /// What this thread forks now is a process of the server's own.
    static FORKS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// One bit for each number: whether a copy closes it.
static UNSHARED: [AtomicU64; NUMBERS_MAX / 64] = [const { AtomicU64::new(0) }; NUMBERS_MAX / 64];

/// From now on, what this process forks is a copy, and so is what its workers fork; but for [`super::fork_blocked`].
pub fn watch_for_copies() -> io::Result<()> {
    static WATCHED: Once = Once::new();
    let mut result = 0;
    WATCHED.call_once(|| {
        // SAFETY: the handler is async-signal-safe: atomics, close(2) and sigaction(2).
        result = unsafe { libc::pthread_atfork(None, None, Some(become_copy)) };
    });
    match result {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Runs a fork whose child is no copy.
pub(super) fn fork_own<T>(fork: impl FnOnce() -> T) -> T {
    FORKS_OWN.set(true);
    let forked = fork();
    FORKS_OWN.set(false);
    forked
}

/// What copies write to this descriptor, as faulthandler does when they crash, goes to their standard error from now on.
pub fn keep_stacks_from_copies(descriptor: BorrowedFd<'_>) {
    STACKS.store(descriptor.as_raw_fd(), SeqCst);
}

/// Whether this process was forked off after [`watch_for_copies`].
#[inline]
pub fn is_copy() -> bool {
    IS_COPY.load(Relaxed)
}

extern "C" fn become_copy() {
    if FORKS_OWN.get() {
        return;
    }
    IS_COPY.store(true, SeqCst);
    for (number, word) in (0..).step_by(64).zip(&UNSHARED) {
        let mut marks = word.swap(0, SeqCst);
        while marks != 0 {
            // SAFETY: the number is open: its owner takes the mark back before closing it, and closes nothing in a copy.
            unsafe { libc::close(number + marks.trailing_zeros() as RawFd) };
            marks &= marks - 1;
        }
    }
    lent::lead_nowhere();
    let stacks = STACKS.swap(-1, SeqCst);
    if stacks >= 0 {
        // SAFETY: dup3(2) is async-signal-safe; the number is open for as long as the process that was copied lives, and its owner
        // does not close it. Without a standard error it fails, and all stays as it was.
        unsafe { libc::dup3(libc::STDERR_FILENO, stacks, libc::O_CLOEXEC) };
    }
    abort::leave_to_owner();
    signal::let_copies_end();
}

/// A descriptor that copies do not have.
#[derive(Debug)]
pub struct Unshared(ManuallyDrop<OwnedFd>);

impl Unshared {
    pub fn new(descriptor: OwnedFd) -> Self {
        if let Some((word, mark)) = place_of(descriptor.as_raw_fd()) {
            word.fetch_or(mark, SeqCst);
        }
        Self(ManuallyDrop::new(descriptor))
    }
}

/// Where the mark of a number is, if it has one.
fn place_of(number: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(number).ok()?;
    Some((UNSHARED.get(number / 64)?, 1 << (number % 64)))
}

impl AsFd for Unshared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let was_marked = place_of(self.0.as_raw_fd())
            .is_none_or(|(word, mark)| word.fetch_and(!mark, SeqCst) & mark != 0);
        // In a copy it is closed already, and the number may be another's by now.
        if was_marked {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
