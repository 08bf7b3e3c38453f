//! What a streaming app produces faster than its client reads: the thread leaves it here and goes on, and the reactor
//! sends it as the socket takes it.

use std::{io, os::fd::AsFd};

use super::Reactor;
use crate::{
    sys::{self, Readiness, Unshared},
    worker::{connection::Connection, table::Lent},
};

impl Reactor {
    /// Queues what a streaming app produced for a client that does not read fast enough. How much may wait is the
    /// producer's to bound, by [`Reactor::stream_backlog`]. An error: the client is gone, or it cannot be kept here, which is
    /// told; nothing more of the response is sent then.
    pub fn queue_streamed(&mut self, connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
        self.register(connection);
        let deadline_ms = sys::monotonic_ns() / 1_000_000 + self.settings.write_ms;
        let Some(lent) = self.table.lent(connection.token) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        if lent.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if lent.output.is_empty() {
            lent.deadline_ms = deadline_ms;
        }
        if let Err(error) = keep(lent, connection, bytes) {
            lent.broken = true;
            crate::error!(
                "{} cannot buffer the response to {} in {}: {error}; it is cut short",
                self.who(),
                connection.described(),
                std::env::temp_dir().display()
            );
            return Err(error);
        }
        flush_lent(lent, self.now_ms, self.settings.write_ms);
        self.arm(connection.token, deadline_ms);
        Ok(())
    }

    /// How many bytes of a streamed response wait here; none: the producer may send directly. An error: the client is
    /// gone, or has not read for too long.
    pub fn stream_backlog(&mut self, token: u64) -> io::Result<u64> {
        match self.table.lent(token) {
            Some(lent) if !lent.broken => Ok(lent.output.waiting()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn on_lent(&mut self, token: u64, readiness: Readiness) {
        let (now_ms, write_ms) = (self.now_ms, self.settings.write_ms);
        if let Some(lent) = self.table.lent(token) {
            if self.settings.streams {
                self.reports.push((token, readiness));
                return;
            }
            let before = lent.events.unwrap_or(Readiness::NONE);
            lent.events = Some(before.or(readiness));
            if readiness.can_write() && !lent.output.is_empty() {
                flush_lent(lent, now_ms, write_ms);
            }
        }
    }
}

fn keep(lent: &mut Lent, connection: &Connection, bytes: &[u8]) -> io::Result<()> {
    if lent.socket.is_none() {
        let socket = connection.socket().try_clone_to_owned()?;
        lent.socket = Some(Unshared::new(socket));
    }
    lent.output.push_streamed(bytes)
}

/// Gives up a client that has not read for too long: what it takes now counts, for the app may have blocked the loop.
pub(super) fn expire(lent: &mut Lent, now_ms: u64, write_ms: u64) {
    if !lent.output.is_empty() && lent.deadline_ms <= now_ms {
        flush_lent(lent, now_ms, write_ms);
        lent.broken |= !lent.output.is_empty() && lent.deadline_ms <= now_ms;
    }
}

/// Sends what a streaming app left here.
fn flush_lent(lent: &mut Lent, now_ms: u64, write_ms: u64) {
    let Some(socket) = &lent.socket else { return };
    let mut progress = false;
    let sent = lent.output.send(u64::MAX, socket.as_fd(), &mut progress);
    lent.broken |= sent.is_err();
    if progress {
        lent.deadline_ms = now_ms + write_ms;
    }
}
