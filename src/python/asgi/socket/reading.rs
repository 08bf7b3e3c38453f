//! How a WebSocket's client is read ahead of the app: what was received is decoded before more is received. While the app is
//! behind, nothing is received, and the client has to wait; so it has to while it does not read our answers. In a turn of the
//! loop, a connection is read so much and no more, so that others have theirs. The app's `receive` never reads: it would go on
//! for as long as the client sends.

use std::{io, time::Instant};

use pyo3::prelude::*;

use super::{Phase, Socket, State};
use crate::{
    python::asgi::{awaitable::Awaited, waiters::Sleepers},
    websocket::Event,
};

/// Bytes that are received at once. More than the beginning of a frame, for which the decoder may have to wait.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Receives on one connection in a turn.
const RECEIVES_MAX: usize = 4;

/// What was received and is not decoded yet: the beginning of a frame, or what the app has no room for.
#[derive(Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    /// How many of the bytes are decoded.
    decoded: usize,
}

impl Rest {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.decoded..]
    }

    /// Gives memory back: most connections are silent most of the time, and have none.
    fn trimmed(self) -> Self {
        match self.bytes().len() {
            0 => Self::default(),
            left if left <= self.decoded => Self::from(self.bytes().to_vec()),
            _ => self,
        }
    }
}

impl From<Vec<u8>> for Rest {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, decoded: 0 }
    }
}

impl Socket {
    /// Reads what has come, as far as the app has room for it and a turn allows.
    pub(super) fn read(this: &Bound<'_, Self>) -> PyResult<()> {
        for _ in 0..RECEIVES_MAX {
            if !Self::read_once(this)? {
                return Ok(());
            }
        }
        Self::read_next_turn(this)
    }

    /// No event will tell of what is there to be read.
    pub(super) fn read_next_turn(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, socket) = (this.py(), this.get());
        let state = socket.state.borrow(py);
        let token = state.connection.as_ref().map(|connection| connection.token);
        drop(state);
        token.map_or(Ok(()), |token| socket.gateway.look_again(py, token))
    }

    /// True: there may be more, and there is room for it.
    fn read_once(this: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut scratch = gateway.take_scratch(py);
        let mut out = Vec::new();
        let mut state = this.get().state.borrow(py);
        state.read(py, &mut scratch, &mut out);
        let has_more = state.is_hungry() && state.has_unread();
        let is_over = matches!(&state.phase, Phase::Open(open) if open.is_over());
        let receivers = match state.inbox.is_empty() && state.end.get().is_none() {
            true => Sleepers::default(),
            false => state.waiters.take(Awaited::Message),
        };
        drop(state);
        gateway.put_scratch(py, scratch);
        Self::transmit(this, &out);
        if is_over {
            Self::finish(this)?;
        }
        receivers.wake(py)?;
        Ok(has_more)
    }
}

impl State {
    /// Decodes what was received; when that is not enough, receives once and decodes that. Answers of the protocol go to
    /// `out`, where they take no more room than what they answer.
    fn read(&mut self, py: Python<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.decoded += self.take_events(py, &mut rest.bytes[rest.decoded..], out);
        if self.is_hungry() && self.receive_more(rest.bytes(), scratch) {
            let decoded = self.take_events(py, scratch, out);
            rest = Rest::from(scratch[decoded..].to_vec());
        }
        self.rest = rest.trimmed();
        self.note_end_of_input();
        self.awaits_app = self.inbox.is_full();
    }

    /// Whether more of what the client sends is wanted now.
    fn is_hungry(&self) -> bool {
        let (Phase::Open(open), Some(connection)) = (&self.phase, &self.connection) else {
            return false;
        };
        // What comes after our goodbye is dropped, and takes no room.
        let has_room = !self.inbox.is_full() || !open.is_open();
        let reads_answers = connection.output.is_empty();
        has_room && reads_answers && !open.is_over()
    }

    fn has_unread(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.unread)
    }

    /// Decodes until more input is needed, or nothing more is wanted. Returns how many bytes are done with.
    fn take_events(&mut self, py: Python<'_>, input: &mut [u8], out: &mut Vec<u8>) -> usize {
        let mut decoded = 0;
        while self.is_hungry() {
            let Phase::Open(open) = &mut self.phase else {
                break;
            };
            let received = open.receive(&mut input[decoded..], out);
            decoded += received.consumed;
            match received.event {
                None => break,
                Some(Event::Text(text)) => self.inbox.push_text(py, text),
                Some(Event::Binary(data)) => self.inbox.push_bytes(py, data),
                Some(Event::Ping(_) | Event::Pong(_)) => {}
                Some(Event::Closed { code, reason }) => self.end.note(code, reason),
                Some(Event::Failed(failure)) => self.end.note(failure.code, failure.detail),
            }
        }
        decoded
    }

    /// Receives once, behind these bytes. False: nothing came.
    fn receive_more(&mut self, rest: &[u8], scratch: &mut Vec<u8>) -> bool {
        let Some(connection) = self.connection.as_mut().filter(|it| it.unread) else {
            return false;
        };
        scratch.clear();
        scratch.extend_from_slice(rest);
        scratch.reserve(RECEIVE_BYTES - rest.len());
        let room = scratch.capacity() - scratch.len();
        match connection.receive_into(scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.unread = false,
            Ok(0) | Err(_) => {
                connection.unread = false;
                connection.end_was_read = true;
            }
            Ok(count) => {
                // No event tells of an end that was told already.
                connection.unread = count == room || connection.end_was_announced;
                if let Phase::Open(open) = &mut self.phase {
                    open.heard(Instant::now());
                }
                return true;
            }
        }
        false
    }

    /// The end of the input is met once all that came before it was decoded.
    fn note_end_of_input(&mut self) {
        let has_ended = self.connection.as_ref().is_some_and(|it| it.end_was_read);
        if has_ended
            && self.is_hungry()
            && let Phase::Open(open) = &mut self.phase
            && let Some(Event::Failed(failure)) = open.end()
        {
            self.end.note(failure.code, failure.detail);
        }
    }
}
