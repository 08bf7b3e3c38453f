//! What a WebSocket's client sent and the app has not taken yet. It has a bound, beyond which the client is not read.

use std::collections::VecDeque;

use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

/// Messages that wait for the app. It takes them without a turn of the loop in between, so they bound, too, for how long one
/// client that sends without a pause can keep others out.
const MESSAGES_MAX: usize = 128;
/// Those for which an empty inbox keeps its memory.
const MESSAGES_KEPT: usize = 8;
/// Bytes of these messages, which may be a thousand times what the client sent: they are decompressed. The last one may go
/// beyond.
const BYTES_MAX: usize = 1024 * 1024;

pub(super) enum Message {
    Text(Py<PyString>),
    Bytes(Py<PyBytes>),
}

#[derive(Default)]
pub(super) struct Inbox {
    /// Each with its bytes.
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether half of it is free: it is filled again while the app goes on with the rest.
    pub(super) fn is_low(&self) -> bool {
        self.messages.len() <= MESSAGES_MAX / 2 && self.bytes <= BYTES_MAX / 2
    }

    pub(super) fn push_text(&mut self, py: Python<'_>, text: &str) {
        let message = Message::Text(PyString::new(py, text).unbind());
        self.push(message, text.len());
    }

    pub(super) fn push_bytes(&mut self, py: Python<'_>, data: &[u8]) {
        let message = Message::Bytes(PyBytes::new(py, data).unbind());
        self.push(message, data.len());
    }

    fn push(&mut self, message: Message, bytes: usize) {
        self.bytes += bytes;
        self.messages.push_back((message, bytes));
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let (message, bytes) = self.messages.pop_front()?;
        self.bytes -= bytes;
        if self.messages.is_empty() {
            self.messages.shrink_to(MESSAGES_KEPT);
        }
        Some(message)
    }
}
