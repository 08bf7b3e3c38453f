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
use crate::sys::{Readiness, Unshared, receive_with_descriptors, send_with_descriptors};

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

    /// Whether a connection waits.
    pub fn has_guests(&self) -> bool {
        Readiness::now(self.exit()).can_read()
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

    /// Takes a connection; `None` when there is none. An error: one was there and is lost, since this process may not open more
    /// files, or since another build left it.
    pub fn take(&mut self) -> io::Result<Option<Guest>> {
        let mut message = [0; MESSAGE_BYTES];
        self.received.clear();
        let length =
            match receive_with_descriptors(self.exit.as_fd(), &mut message, &mut self.received) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                received => received?,
            };
        let [a, b, c, d, introduction @ ..] = message;
        let guest = || {
            Some(Guest {
                listener: u32::from_ne_bytes([a, b, c, d]),
                introduction: Introduction::from_bytes(introduction)?,
                socket: self.received.pop()?,
            })
        };
        let understood = (length == MESSAGE_BYTES).then(guest).flatten();
        understood
            .map(Some)
            .ok_or_else(|| io::Error::other("its message is not understood"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::seqpacket_pair;

    #[test]
    fn who_was_left_is_taken_once() {
        let (entrance, exit) = seqpacket_pair().unwrap();
        let mut lobby = Lobby::new(entrance, exit);
        let (guest, _client) = UnixStream::pair().unwrap();
        let told = Introduction::Client("192.0.2.1:80".parse().unwrap());
        assert!(!lobby.has_guests());
        lobby.leave(7, told, guest.as_fd()).unwrap();
        assert!(lobby.has_guests());
        let taken = lobby.take().unwrap().unwrap();
        assert_eq!((taken.listener, taken.introduction), (7, told));
        assert!(lobby.take().unwrap().is_none() && !lobby.has_guests());
    }
}
