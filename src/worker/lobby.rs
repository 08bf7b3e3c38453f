//! Where workers leave connections for each other.
//!
//! One SEQPACKET socket pair that all workers of a server hold, of all generations: each message is one connection
//! (`SCM_RIGHTS`) whose whole state is in its socket. A draining worker leaves its idle connections here, a busy one
//! those that another could serve at once. What nobody takes waits, as in the backlog of a listener; the arbiter holds
//! both ends too, so nothing is lost when workers go.
//!
//! All free workers are woken for a message, not one of them: an exclusive wake-up would be lost on a worker that gets a
//! request of its own in the same moment, with the others asleep.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::sys::{receive_with_descriptors, send_with_descriptors};

pub struct Lobby {
    entrance: OwnedFd,
    exit: OwnedFd,
    received: Vec<OwnedFd>,
}

impl Lobby {
    pub fn new(entrance: OwnedFd, exit: OwnedFd) -> Self {
        Self {
            entrance,
            exit,
            received: Vec::with_capacity(1),
        }
    }

    /// Readable when a connection waits.
    pub fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// Leaves a connection that came in by the given listener. When the lobby is full, `WouldBlock`.
    pub fn leave(&self, listener: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        send_with_descriptors(self.entrance.as_fd(), &listener.to_ne_bytes(), &[socket])
    }

    /// Takes a connection: the listener it came in by, and its socket. `None` when there is none.
    pub fn take(&mut self) -> Option<(u32, OwnedFd)> {
        let mut listener = [0; 4];
        self.received.clear();
        let received =
            receive_with_descriptors(self.exit.as_fd(), &mut listener, &mut self.received);
        match (received, self.received.pop()) {
            (Ok(4), Some(socket)) => Some((u32::from_ne_bytes(listener), socket)),
            _ => None,
        }
    }
}
