//! The connections of a worker by token. A token carries the stamp of its entry, so an event that the kernel reported for
//! a connection that is gone meets nobody, even when the entry is in use again.

use std::os::fd::RawFd;

use super::{
    connection::{Connection, Stage},
    output::Output,
};
use crate::sys::{Readiness, Unshared};

/// Says that an entry stands in no timer bucket.
pub(super) const NO_BUCKET: u64 = u64::MAX;

/// Who has a connection.
pub(super) enum Place {
    Nobody,
    /// It waits for its peer.
    Here(Box<Connection>),
    /// A thread runs the app for it.
    Lent(Lent),
}

/// What happens to a connection while a thread has it.
#[derive(Default)]
pub(super) struct Lent {
    /// Events that came meanwhile.
    pub events: Option<Readiness>,
    /// What a streaming app produced and the socket did not take; sent from here, through a duplicate of the descriptor.
    pub output: Output,
    pub socket: Option<Unshared>,
    /// Sending failed: the client is gone.
    pub broken: bool,
    /// When `output` has made no progress for too long, milliseconds.
    pub deadline_ms: u64,
    /// It is among those that the reactor looks at again.
    pub is_in_again: bool,
    /// The app has taken the socket: its number, which is open for as long as the connection is lent.
    pub taken: Option<RawFd>,
}

impl Lent {
    /// Notes an event.
    pub(super) fn note(&mut self, readiness: Readiness) {
        let before = self.events.unwrap_or(Readiness::NONE);
        self.events = Some(before.or(readiness));
    }
}

pub(super) struct Entry {
    stamp: u32,
    /// The timer bucket that will look at this entry.
    pub bucket: u64,
    pub place: Place,
}

/// Connections that are here, by what they wait for. One that waits here keeps its stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Here {
    pub idle: u32,
    pub reading: u32,
    pub writing: u32,
    pub closing: u32,
}

impl Here {
    fn of(&mut self, stage: &Stage) -> &mut u32 {
        match stage {
            Stage::Idle => &mut self.idle,
            Stage::Introduction
            | Stage::Head(_)
            | Stage::InlineBody { .. }
            | Stage::Body(_)
            | Stage::Request => &mut self.reading,
            Stage::Replying { .. } => &mut self.writing,
            Stage::Lingering { .. } => &mut self.closing,
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    here: Here,
}

impl Table {
    /// Connections, lent ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A token for a new connection, which counts as lent until it is put here.
    pub(super) fn open(&mut self) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                stamp: 0,
                bucket: NO_BUCKET,
                place: Place::Nobody,
            });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.place = Place::Lent(Lent::default());
        entry.bucket = NO_BUCKET;
        u64::from(entry.stamp) << 32 | u64::from(index)
    }

    /// The entry of a token, unless its connection is gone.
    pub(super) fn entry(&mut self, token: u64) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(token as u32 as usize)?;
        (entry.stamp == (token >> 32) as u32).then_some(entry)
    }

    /// Takes a connection that is here; it counts as lent from now on.
    pub(super) fn take(&mut self, token: u64) -> Option<Box<Connection>> {
        let entry = self.entry(token)?;
        if !matches!(entry.place, Place::Here(_)) {
            return None;
        }
        match std::mem::replace(&mut entry.place, Place::Lent(Lent::default())) {
            Place::Here(connection) => {
                *self.here.of(&connection.stage) -= 1;
                Some(connection)
            }
            Place::Nobody | Place::Lent(_) => None,
        }
    }

    /// What happened while the connection was lent; it stays so.
    pub(super) fn take_lent(&mut self, token: u64) -> Lent {
        match self.entry(token).map(|entry| &mut entry.place) {
            Some(Place::Lent(lent)) => std::mem::take(lent),
            _ => Lent::default(),
        }
    }

    pub(super) fn lent(&mut self, token: u64) -> Option<&mut Lent> {
        match &mut self.entry(token)?.place {
            Place::Lent(lent) => Some(lent),
            Place::Here(_) | Place::Nobody => None,
        }
    }

    pub(super) fn put(&mut self, connection: Box<Connection>) {
        let token = connection.token;
        if self.entry(token).is_some() {
            *self.here.of(&connection.stage) += 1;
        }
        if let Some(entry) = self.entry(token) {
            entry.place = Place::Here(connection);
        }
    }

    pub(super) fn here(&self) -> Here {
        self.here
    }

    /// Forgets a connection; its token means nothing from now on.
    pub(super) fn close(&mut self, token: u64) {
        if let Some(entry) = self.entry(token) {
            entry.place = Place::Nobody;
            entry.stamp = entry.stamp.wrapping_add(1) & STAMP_MASK;
            self.free.push(token as u32);
        }
    }

    /// The sockets that the app has taken.
    pub(super) fn taken(&mut self) -> impl Iterator<Item = &mut Option<RawFd>> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match &mut entry.place {
                Place::Lent(lent) => Some(&mut lent.taken),
                Place::Here(_) | Place::Nobody => None,
            })
    }

    /// The connections that are here.
    pub(super) fn connections_here(&self) -> impl Iterator<Item = &Connection> {
        self.entries.iter().filter_map(|entry| match &entry.place {
            Place::Here(connection) => Some(&**connection),
            Place::Lent(_) | Place::Nobody => None,
        })
    }

    /// Their tokens.
    pub(super) fn tokens_here(&self) -> Vec<u64> {
        self.connections_here()
            .map(|connection| connection.token)
            .collect()
    }
}

/// Stamps stay below 2³¹, so that tokens with the highest bit are free for other uses.
const STAMP_MASK: u32 = u32::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_closed_connection_meets_nobody() {
        let mut table = Table::default();
        let first = table.open();
        table.close(first);
        let second = table.open();
        assert_eq!(first as u32, second as u32, "the entry is used again");
        assert!(table.entry(first).is_none());
        assert!(table.entry(second).is_some());
        assert_eq!(table.len(), 1);
    }
}
