//! What requests and WebSockets know of their client by what it takes: whether all that was sent is out, whether it reads at
//! all, and that it is gone.

use std::io;

use pyo3::prelude::*;

use crate::{
    python::ClientDisconnected,
    sys,
    worker::{Connection, Sent},
};

/// nginx's word in the log for a client that closed before there was an answer.
pub(super) const CLIENT_CLOSED: u16 = 499;

/// Whether all that was sent is out.
pub(super) fn has_room(connection: Option<&Connection>) -> bool {
    connection.is_none_or(|connection| connection.output.is_empty())
}

/// Whether the client has not read for too long.
pub(super) fn is_stuck(connection: &Connection, now_ms: u64) -> bool {
    !connection.output.is_empty() && connection.deadline_ms <= now_ms
}

/// Sends what waits; true when all is out.
pub(super) fn flush(connection: &mut Connection, write_ms: u64) -> io::Result<bool> {
    let sent = connection.flush(u64::MAX)?;
    match sent {
        Sent::All => connection.deadline_ms = u64::MAX,
        Sent::UntilFull | Sent::AsMuchAsAllowed => {
            connection.deadline_ms = sys::monotonic_ms() + write_ms;
        }
        Sent::Nothing => {}
    }
    Ok(sent == Sent::All)
}

/// What the app's `send` raises then.
pub(super) fn gone() -> PyErr {
    ClientDisconnected::new_err("the client has closed the connection")
}
