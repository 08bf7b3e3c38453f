//! Room for new connections. A worker at its bound gives up connections that have idled longest once others wait to be let
//! in, so that clients who only hold theirs open keep nobody out.

use super::Reactor;
use crate::{
    telemetry::OnceAMinute,
    worker::{
        connection::{Connection, Stage},
        table::Table,
    },
};

/// Who has idled for less may be about to ask again: the connection is left alone. As long as Gunicorn's workers keep one at
/// least, half of its two seconds.
const QUIET_MS_MIN: u64 = 1_000;
/// Where none has idled for so long, this is the pause before the next look.
const LOOK_AGAIN_MS: u64 = 250;
/// Of the connections that a worker may hold, one in so many is given up at a time: to find them, each is looked at.
const GIVEN_UP_SHARE: usize = 64;
/// A worker may come to its bound with every connection.
static FULL: OnceAMinute = OnceAMinute::new();

impl Reactor {
    /// How many connections more this worker may hold.
    pub(super) fn room(&self) -> usize {
        self.settings
            .connections_max
            .saturating_sub(self.table.len())
    }

    /// Whether one more can be had: there is room for it, or may be made.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0 || self.may_make_room()
    }

    /// Not while the other workers have fewer connections: they are the ones to take more.
    fn may_make_room(&self) -> bool {
        self.table.here().idle > 0
            && self.now_ms >= self.look_for_room_ms
            && self.acceptor.allowance(self.table.len()) > 0
    }

    /// A connection waits to be taken. Where there is no room for it, those that have idled longest are given up, as at the
    /// end of `timeouts.keepalive`: what has come on them unseen is served.
    pub(super) fn make_room(&mut self) {
        if self.room() > 0 || !self.may_make_room() {
            return;
        }
        let most = self.settings.connections_max;
        let count = self.table.len() - most + (most / GIVEN_UP_SHARE).max(1);
        let quietest = quietest(&self.table, self.now_ms, count);
        if quietest.is_empty() {
            self.look_for_room_ms = self.now_ms + LOOK_AGAIN_MS;
        }
        for token in quietest {
            if let Some(mut connection) = self.table.take(token) {
                connection.deadline_ms = self.now_ms;
                if let Some(job) = self.expire(&mut connection).settle(self, connection) {
                    self.waiting.push_aside(job);
                }
            }
        }
    }

    /// Else nobody would know why clients wait: they are connected, by the kernel.
    #[cold]
    pub(super) fn tell_full(&self) {
        if FULL.claim() {
            crate::warning!(
                "{} has as many connections as `limits.connections` allows, {}; those that idle longest are closed for others, \
                 and where none idles more wait for another worker or in the backlog",
                self.who(),
                self.settings.connections_max
            );
        }
    }
}

/// The tokens of so many connections at most, those that have idled longest.
fn quietest(table: &Table, now_ms: u64, count: usize) -> Vec<u64> {
    let latest_ms = now_ms.saturating_sub(QUIET_MS_MIN);
    let is_quiet = |connection: &Connection| {
        matches!(connection.stage, Stage::Idle)
            && connection.is_movable()
            && connection.idle_since_ms <= latest_ms
    };
    let mut quiet: Vec<_> = table
        .connections_here()
        .filter(|connection| is_quiet(connection))
        .map(|connection| (connection.idle_since_ms, connection.token))
        .collect();
    if quiet.len() > count {
        quiet.select_nth_unstable(count);
        quiet.truncate(count);
    }
    quiet.into_iter().map(|(_, token)| token).collect()
}
