//! How the bytes of a response reach the socket: at once where it takes them, by reference or through the reactor's queue
//! where it does not.

use std::io::{self, IoSlice};

use pyo3::Python;

use super::desk::Desk;
use crate::{
    http::response,
    sys::net,
    worker::{Connection, Payload},
};

/// A body of at most this many bytes is copied behind its head and goes with it in one plain send.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// A part of a streamed response.
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    /// It is framed as a chunk.
    pub(super) is_chunk: bool,
    /// The response is complete with it.
    pub(super) is_last: bool,
}

/// How far the sending of one response is.
#[derive(Default)]
pub(super) struct Sending {
    /// The head is complete and goes out with the next bytes.
    pub(super) head_waits: bool,
    /// The socket was full: what follows queues up behind what waits at the reactor.
    queued: bool,
    /// Bytes that the app gave beyond its Content-Length; they are dropped.
    excess: usize,
}

impl Sending {
    pub(super) fn note_excess(&mut self, bytes: usize) {
        self.excess += bytes;
    }

    pub(super) fn excess(&self) -> usize {
        self.excess
    }

    /// Whether a part waits at the reactor, as far as is known.
    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    /// Sends head and body of a complete response. What the socket does not take now goes to the connection's output,
    /// the body by reference.
    pub(super) fn send_final(
        &mut self,
        connection: &mut Connection,
        head: &mut Vec<u8>,
        body: &[u8],
        next: net::Next,
        keep: impl FnOnce() -> Payload,
    ) -> io::Result<()> {
        if body.len() <= COPIED_BYTES_MAX {
            let head_bytes = head.len();
            head.extend_from_slice(body);
            let sent = net::taken(connection.send(head, next));
            if let Ok(sent) = sent {
                connection.output.push_bytes(&head[sent..]);
            }
            head.truncate(head_bytes);
            return sent.map(drop);
        }
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let sent = net::taken(connection.send_vectored(&slices, next))?;
        if sent < head.len() {
            connection.output.push_bytes(&head[sent..]);
        }
        let body_sent = sent.saturating_sub(head.len());
        if body_sent < body.len() {
            connection.output.push_payload(keep(), body_sent);
        }
        Ok(())
    }

    /// Sends an interim response before the head, whole or not at all. An error beside `WouldBlock` ends the connection.
    pub(super) fn send_interim(
        &self,
        connection: &mut Connection,
        interim: &[u8],
    ) -> io::Result<()> {
        let sent = connection.send(interim, net::Next::Unknown)?;
        if sent < interim.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// Sends a part of a streamed response.
    pub(super) fn send(
        &mut self,
        py: Python<'_>,
        desk: &Desk,
        connection: &mut Connection,
        head: &[u8],
        part: Part<'_>,
    ) -> io::Result<()> {
        let mut start = Vec::new();
        let mut end: &[u8] = &[];
        if part.is_chunk && !part.bytes.is_empty() {
            response::write_chunk_start(&mut start, part.bytes.len());
            end = response::CHUNK_END;
        }
        let slices = [self.waiting(head), &start, part.bytes, end];
        self.send_slices(py, desk, connection, slices, part.is_last)
    }

    /// Sends what ends a streamed response.
    pub(super) fn send_end(
        &mut self,
        py: Python<'_>,
        desk: &Desk,
        connection: &mut Connection,
        head: &[u8],
        last: &[u8],
    ) -> io::Result<()> {
        let slices = [self.waiting(head), last, &[], &[]];
        self.send_slices(py, desk, connection, slices, true)
    }

    fn waiting<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        if self.head_waits { head } else { &[] }
    }

    fn send_slices(
        &mut self,
        py: Python<'_>,
        desk: &Desk,
        connection: &mut Connection,
        slices: [&[u8]; 4],
        is_last: bool,
    ) -> io::Result<()> {
        self.head_waits = false;
        desk.note_progress();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(());
        }
        if self.queued {
            self.queued = desk.backlog(connection.token)? > 0;
        }
        if is_last && !self.queued && desk.hold_back(&slices).is_some() {
            return Ok(());
        }
        let sent = match self.queued {
            true => 0,
            false => {
                net::taken(connection.send_vectored(&slices.map(IoSlice::new), net::Next::Unknown))?
            }
        };
        let rest = behind(&slices, sent);
        if !rest.is_empty() {
            self.queued = true;
            // May write to a file.
            py.detach(|| desk.queue(connection, &rest))?;
        }
        Ok(())
    }
}

/// What of the slices comes after the first `sent` bytes.
fn behind(slices: &[&[u8]; 4], mut sent: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    for slice in slices {
        let skipped = sent.min(slice.len());
        rest.extend_from_slice(&slice[skipped..]);
        sent -= skipped;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_is_left_over_across_slices() {
        let slices: [&[u8]; 4] = [b"head", b"", b"body", b"\r\n"];
        assert_eq!(behind(&slices, 0), b"headbody\r\n");
        assert_eq!(behind(&slices, 5), b"ody\r\n");
        assert_eq!(behind(&slices, 10), b"");
    }
}
