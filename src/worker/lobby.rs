//! Where workers leave connections for each other.
//!
//! One SEQPACKET socket pair that all workers of a server hold, of all generations: each message is one connection
//! (`SCM_RIGHTS`) whose whole state is in its socket, but for what the PROXY protocol told about it. A draining worker leaves its idle connections here, a busy one
//! those that another could serve at once. What nobody takes waits, as in the backlog of a listener; the arbiter holds
//! both ends too, so nothing is lost when workers go.
//!
//! All free workers are woken for a message, not one of them: an exclusive wake-up would be lost on a worker that gets a
//! request of its own in the same moment, with the others asleep.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::peer::{INTRODUCTION_BYTES, Introduction};
use crate::sys::{Unshared, receive_with_descriptors, send_with_descriptors};

/// Of a message: the listener's number and the introduction. Workers of several builds read it: a change is another
/// format of an upgrade.
const MESSAGE_BYTES: usize = 4 + INTRODUCTION_BYTES;

/// A connection on its way.
#[derive(Debug)]
pub struct Guest {
    /// The listener that it came in by.
    pub listener: u32,
    pub introduction: Introduction,
    pub socket: OwnedFd,
}

pub struct Lobby {
    entrance: Unshared,
    exit: Unshared,
    received: Vec<OwnedFd>,
}

impl Lobby {
    pub fn new(entrance: OwnedFd, exit: OwnedFd) -> Self {
        Self {
            entrance: Unshared::new(entrance),
            exit: Unshared::new(exit),
            received: Vec::with_capacity(1),
        }
    }

    /// Readable when a connection waits.
    pub fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// Leaves a connection that came in by the given listener. When the lobby is full, `WouldBlock`.
    pub fn leave(
        &self,
        listener: u32,
        introduction: Introduction,
        socket: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        message[..4].copy_from_slice(&listener.to_ne_bytes());
        message[4..].copy_from_slice(&introduction.to_bytes());
        send_with_descriptors(self.entrance.as_fd(), &message, &[socket])
    }

    /// Takes a connection. `None` when there is none.
    pub fn take(&mut self) -> Option<Guest> {
        let mut message = [0; MESSAGE_BYTES];
        self.received.clear();
        let received =
            receive_with_descriptors(self.exit.as_fd(), &mut message, &mut self.received);
        let socket = self.received.pop()?;
        let ([a, b, c, d, introduction @ ..], Ok(MESSAGE_BYTES)) = (message, received) else {
            return None;
        };
        Some(Guest {
            listener: u32::from_ne_bytes([a, b, c, d]),
            introduction: Introduction::from_bytes(introduction)?,
            socket,
        })
    }
}
