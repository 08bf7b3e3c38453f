//! A complete response that waits for company (`reactor/holding.rs`) while its call is not over: closing an iterable may
//! last, and then the monitor sends it.

use std::os::fd::RawFd;

use crate::sys::net;

#[derive(Default)]
pub struct HeldResponse {
    bytes: Vec<u8>,
    /// So many of them are out.
    sent: usize,
}

impl HeldResponse {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is still to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes that are out.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Sends as much as the socket takes now. An error is met again by whoever sends the rest.
    pub(super) fn send(&mut self, socket: RawFd) {
        if !self.rest().is_empty() {
            self.sent += net::send_to_number(socket, self.rest()).unwrap_or(0);
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}
