//! A piece of a response's body: what frames it, and how it reaches the socket, or the connection's output.

use std::io::{self, IoSlice};

use pyo3::{prelude::*, types::PyBytes};

use super::{exchange::State, gateway::Gateway};
use crate::{
    http::{ResponseFraming, ResponseShape, response},
    python::ffi::SharedBytes,
    sys::{self, net},
    worker::Connection,
};

/// A piece of at most this many bytes is copied behind what stands before it and goes with it in one plain send.
const COPIED_BYTES_MAX: usize = 4 * 1024;

pub(super) struct Piece<'a, 'py> {
    pub(super) shape: ResponseShape,
    pub(super) body: &'a Bound<'py, PyBytes>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Piece<'_, '_> {
    /// Sends it in its frame. The head goes out with the first one, and is kept for the log.
    pub(super) fn send(&self, gateway: &Gateway, state: &mut State) -> PyResult<io::Result<()>> {
        let mut before = match self.is_first {
            true => std::mem::take(&mut state.outcome.head.lines),
            false => Vec::new(),
        };
        let head_bytes = before.len();
        let body: &[u8] = match self.shape.send_body {
            true => self.body.as_bytes(),
            false => b"",
        };
        let after = self.write_frame(&mut before, body.len());
        let is_whole = self.is_first && self.is_last && body.len() <= COPIED_BYTES_MAX;
        let is_held = is_whole && gateway.hub.may_hold(state.open()?);
        state.is_held = is_held;
        let next = match (is_held, self.is_last && !self.shape.persistent) {
            (true, _) => None,
            (false, false) => Some(net::Next::Unknown),
            (false, true) => Some(net::Next::Close),
        };
        let write_ms = gateway.write_ms();
        let keep = || SharedBytes::new(self.body);
        let connection = state.open()?;
        let sent = write(connection, &mut before, body, after, next, write_ms, keep);
        if self.is_first {
            before.truncate(head_bytes);
            state.outcome.head.lines = before;
        }
        Ok(sent)
    }

    /// Writes what stands before so many bytes of body; returns what stands after them.
    fn write_frame(&self, before: &mut Vec<u8>, bytes: usize) -> &'static [u8] {
        let is_chunked = self.shape.send_body && self.shape.framing == ResponseFraming::Chunked;
        match (is_chunked, bytes, self.is_last) {
            (false, ..) | (true, 0, false) => b"",
            (true, 0, true) => response::LAST_CHUNK,
            (true, _, is_last) => {
                response::write_chunk_start(before, bytes);
                if is_last {
                    b"\r\n0\r\n\r\n"
                } else {
                    response::CHUNK_END
                }
            }
        }
    }
}

/// Sends the three parts, or puts what the socket does not take into the connection's output: all, where `next` is `None`.
/// A small body goes behind `before`.
fn write(
    connection: &mut Connection,
    before: &mut Vec<u8>,
    body: &[u8],
    after: &[u8],
    next: Option<net::Next>,
    write_ms: u64,
    keep: impl FnOnce() -> SharedBytes,
) -> io::Result<()> {
    let next = next.filter(|_| connection.output.is_empty());
    if body.len() <= COPIED_BYTES_MAX {
        before.extend_from_slice(body);
        before.extend_from_slice(after);
        let sent = match next {
            Some(next) if !before.is_empty() => net::taken(connection.send(before, next))?,
            _ => 0,
        };
        connection.output.push_bytes(&before[sent..]);
    } else {
        let slices = [&before[..], body, after];
        let mut sent = match next {
            Some(next) => net::taken(connection.send_vectored(&slices.map(IoSlice::new), next))?,
            None => 0,
        };
        let behind = |slice: &[u8], sent: &mut usize| {
            let skipped = slice.len().min(*sent);
            *sent -= skipped;
            skipped
        };
        let at = behind(before, &mut sent);
        connection.output.push_bytes(&before[at..]);
        let at = behind(body, &mut sent);
        if at < body.len() {
            connection.output.push_payload(Box::new(keep()), at);
        }
        let at = behind(after, &mut sent);
        connection.output.push_bytes(&after[at..]);
    }
    if next.is_some() && !connection.output.is_empty() {
        connection.deadline_ms = sys::monotonic_ms() + write_ms;
    }
    Ok(())
}
