//! Who waits for a thread, in the order of coming.
//!
//! A request that came behind another on its connection is at hand as soon as that one is answered, and then the one behind it:
//! a client that sends without a pause would always be the next. So such a request steps aside. It is served when nobody else is
//! in sight; after a while the next look for events has to come first, and then it is in the line like all others.

use std::collections::VecDeque;

use super::Connection;

/// One who waits in the line.
pub(super) enum InLine {
    /// A complete request.
    Request(Box<Connection>),
    /// Something came on this idle connection. It is left unread, so that another worker may have it.
    Unread(u64),
}

#[derive(Default)]
pub(super) struct Waiting {
    line: VecDeque<InLine>,
    /// Complete requests in the line.
    requests: usize,
    /// Those that stepped aside.
    aside: VecDeque<Box<Connection>>,
}

impl Waiting {
    pub(super) fn push(&mut self, request: Box<Connection>) {
        self.requests += 1;
        self.line.push_back(InLine::Request(request));
    }

    /// Puts back a request that was taken and not served.
    pub(super) fn push_first(&mut self, request: Box<Connection>) {
        self.requests += 1;
        self.line.push_front(InLine::Request(request));
    }

    pub(super) fn push_unread(&mut self, token: u64) {
        self.line.push_back(InLine::Unread(token));
    }

    /// A request steps aside.
    pub(super) fn push_aside(&mut self, request: Box<Connection>) {
        self.aside.push_back(request);
    }

    /// Those who stepped aside are in the line from now on.
    pub(super) fn line_up(&mut self) {
        self.requests += self.aside.len();
        self.line.extend(self.aside.drain(..).map(InLine::Request));
    }

    pub(super) fn pop(&mut self) -> Option<InLine> {
        let place = self.line.pop_front()?;
        if let InLine::Request(_) = place {
            self.requests -= 1;
        }
        Some(place)
    }

    pub(super) fn pop_aside(&mut self) -> Option<Box<Connection>> {
        self.aside.pop_front()
    }

    pub(super) fn is_line_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether any has stepped aside.
    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Complete requests in the line.
    pub(super) fn requests_in_line(&self) -> usize {
        self.requests
    }

    /// Complete requests.
    pub(super) fn requests(&self) -> usize {
        self.requests + self.aside.len()
    }

    /// All who wait.
    pub(super) fn len(&self) -> usize {
        self.line.len() + self.aside.len()
    }

    /// The token of the first in the line, if that is an unread one.
    pub(super) fn first_unread(&self) -> Option<u64> {
        match self.line.front()? {
            InLine::Unread(token) => Some(*token),
            InLine::Request(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{
        sys::net::PeerAddress,
        worker::peer::{Introduction, Peer},
    };

    fn request(token: u64) -> Box<Connection> {
        let (socket, _) = UnixStream::pair().unwrap();
        let peer = Peer {
            listener: 0,
            socket: PeerAddress::Unix,
            introduction: Introduction::None,
            address: PeerAddress::Unix,
            trusted: false,
        };
        Box::new(Connection::new(socket.into(), token, peer))
    }

    fn drain(waiting: &mut Waiting) -> Vec<u64> {
        let mut tokens = Vec::new();
        while let Some(place) = waiting.pop() {
            tokens.push(match place {
                InLine::Request(connection) => connection.token,
                InLine::Unread(token) => token,
            });
        }
        tokens
    }

    #[test]
    fn who_stepped_aside_comes_behind_all_who_were_in_sight_and_before_all_who_come_later() {
        let mut waiting = Waiting::default();
        waiting.push_aside(request(2));
        waiting.push(request(0));
        waiting.push_unread(1);
        assert_eq!((waiting.requests_in_line(), waiting.requests()), (1, 2));
        waiting.line_up();
        waiting.push_unread(3);
        assert_eq!((waiting.requests_in_line(), waiting.len()), (2, 4));
        assert_eq!(drain(&mut waiting), [0, 1, 2, 3]);
        assert_eq!((waiting.requests(), waiting.len()), (0, 0));
    }
}
