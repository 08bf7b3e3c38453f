//! Copies of a worker: the processes that the app forks off with `os.fork()`, multiprocessing and the like.
//!
//! A copy has the worker's memory and descriptors, and must not act for it. It knows that it is a copy; it lacks the
//! descriptors that would have clients wait for it, or take events from the worker; and TERM, INT and QUIT end it, as they
//! end any process. pthread_atfork(3) does this, before anything else runs in the copy.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Once,
        atomic::{
            AtomicBool, AtomicI32,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{abort, signal};

/// So many descriptors are kept from copies; those beyond are shared with them.
const UNSHARED_MAX: usize = 128;
/// An entry that is free.
const NONE: i32 = -1;

static IS_COPY: AtomicBool = AtomicBool::new(false);
static UNSHARED: [AtomicI32; UNSHARED_MAX] = [const { AtomicI32::new(NONE) }; UNSHARED_MAX];

/// From now on, what this process forks is a copy.
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

/// Whether this process was forked off after [`watch_for_copies`].
#[inline]
pub fn is_copy() -> bool {
    IS_COPY.load(Relaxed)
}

extern "C" fn become_copy() {
    IS_COPY.store(true, SeqCst);
    for entry in &UNSHARED {
        let number = entry.swap(NONE, SeqCst);
        if number != NONE {
            // SAFETY: the number is open: its owner takes it from the table before closing it, and a copy never comes
            // to close it.
            unsafe { libc::close(number) };
        }
    }
    abort::leave_to_owner();
    signal::let_copies_end();
}

/// A descriptor that copies do not have.
#[derive(Debug)]
pub struct Unshared {
    entry: Option<usize>,
    descriptor: OwnedFd,
}

impl Unshared {
    pub fn new(descriptor: OwnedFd) -> Self {
        let number = descriptor.as_raw_fd();
        let is_taken =
            |entry: &AtomicI32| entry.compare_exchange(NONE, number, SeqCst, SeqCst).is_ok();
        Self {
            entry: UNSHARED.iter().position(is_taken),
            descriptor,
        }
    }
}

impl AsFd for Unshared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            UNSHARED[entry].store(NONE, SeqCst);
        }
    }
}
