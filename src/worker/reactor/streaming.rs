//! What a streaming app produces faster than its client reads: the thread leaves it here and goes on, and the reactor
//! sends it as the socket takes it.

use std::{io, os::fd::AsFd};

use super::Reactor;
use crate::{
    sys::{self, Readiness, Unshared},
    worker::{
        connection::Connection,
        output::{Sent, TURN_BYTES_MAX},
        table::Lent,
    },
};

impl Reactor {
    /// Queues what a streaming app produced for a client that does not read fast enough. How much may wait is the
    /// producer's to bound, by [`Reactor::stream_backlog`]. An error: the client is gone, or it cannot be kept here, which is
    /// told; nothing more of the response is sent then.
    pub fn queue_streamed(&mut self, connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
        self.register(connection);
        let deadline_ms = sys::monotonic_ms() + self.settings.write_ms;
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
        if self.flush_lent(connection.token) == Some(Sent::AsMuchAsAllowed) {
            self.wake();
        }
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

    /// Notes what happened to a connection that is with the app. What waits in a file for its client is put off.
    pub(super) fn on_lent(&mut self, token: u64, readiness: Readiness) {
        let streams = self.settings.streams;
        let Some(lent) = self.table.lent(token) else {
            return;
        };
        if streams {
            self.reports.push((token, readiness));
            return;
        }
        lent.note(readiness);
        if readiness.can_write() {
            match lent.output.reads_files() {
                true => self.cold.push((token, readiness)),
                false => drop(self.flush_lent(token)),
            }
        }
    }

    /// As [`Reactor::on_lent`]; may read a file.
    pub(super) fn on_cold_lent(&mut self, token: u64, readiness: Readiness) {
        if self.settings.streams {
            return self.on_lent(token, readiness);
        }
        if let Some(lent) = self.table.lent(token) {
            lent.note(readiness);
            self.flush_lent(token);
        }
    }

    /// Gives up a client that has not read for too long: what it takes now counts, for the app may have blocked the loop.
    pub(super) fn expire_lent(&mut self, token: u64) {
        let now_ms = self.now_ms;
        let is_late = |lent: &Lent| !lent.output.is_empty() && lent.deadline_ms <= now_ms;
        if self.table.lent(token).is_some_and(|lent| is_late(lent)) {
            self.flush_lent(token);
            if let Some(lent) = self.table.lent(token) {
                lent.broken |= is_late(lent);
            }
        }
    }

    /// Sends what a streaming app left here, as much as one may before others have their turn. `None`: it is gone.
    fn flush_lent(&mut self, token: u64) -> Option<Sent> {
        let deadline_ms = self.now_ms + self.settings.write_ms;
        let lent = self.table.lent(token)?;
        let socket = lent.socket.as_ref()?;
        let sent = lent.output.send(TURN_BYTES_MAX, socket.as_fd());
        lent.broken |= sent.is_err();
        let sent = sent.ok()?;
        if sent != Sent::Nothing {
            lent.deadline_ms = deadline_ms;
        }
        if sent == Sent::AsMuchAsAllowed {
            // So much waits in a file.
            self.cold.push((token, Readiness::NONE));
        }
        Some(sent)
    }
}

fn keep(lent: &mut Lent, connection: &Connection, bytes: &[u8]) -> io::Result<()> {
    if lent.socket.is_none() {
        let socket = connection.socket().try_clone_to_owned()?;
        lent.socket = Some(Unshared::new(socket));
    }
    lent.output.push_streamed(bytes)
}
