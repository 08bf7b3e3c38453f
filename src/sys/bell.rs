//! An eventfd that one side rings and the other polls: "look at the shared state again".
//!
//! Rings are not counted: many rings before a [`Bell::drain`] wake the reader once.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Close-on-exec and never blocking, for the one who rings as for the one who listens.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    pub fn create() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?.into()))
    }

    /// The bell behind a descriptor that another process created with [`Bell::create`].
    pub fn open(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Makes the descriptor readable until it is drained. Async-signal-safe; an overflowing counter is readable too, so
    /// there is no failure to report.
    pub fn ring(&self) {
        let _ = nix::unistd::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Silences the bell; true when it had been rung.
    pub fn drain(&self) -> bool {
        let mut count = [0u8; 8];
        nix::unistd::read(&self.0, &mut count).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Bell> for OwnedFd {
    fn from(bell: Bell) -> Self {
        bell.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rings_are_one_wake_up() {
        let bell = Bell::create().unwrap();
        assert!(!bell.drain());
        bell.ring();
        bell.ring();
        assert!(bell.drain());
        assert!(!bell.drain());
    }
}
