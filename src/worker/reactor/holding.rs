//! Small responses that wait for company.
//!
//! The first byte on a socket wakes its client, which on an idle processor costs the sender more than the send itself; a
//! client that is awake already costs nothing. So while more requests of one batch are at hand, and the app is quick,
//! complete responses are held back for [`HELD_NS_MAX`] at most and then go out one after the other. Should the app
//! become slow just then, the monitor takes over, and what it does first is to let them go.

use std::collections::VecDeque;

use super::{Connection, Reactor};

/// How long the first of several responses may wait for the others, nanoseconds.
const HELD_NS_MAX: u64 = 400_000;

/// Held responses, and how long the app's calls take.
#[derive(Default)]
pub(super) struct Held {
    responses: VecDeque<(Box<Connection>, bool)>,
    /// How many may be held, by what the calls of the last batch took.
    most: usize,
    /// Calls since `since_ns`.
    calls: u64,
    since_ns: u64,
    /// When the call began whose response was held first.
    first_ns: u64,
}

impl Held {
    /// A batch begins.
    pub(super) fn begin_batch(&mut self, now_ns: u64) {
        self.calls = 0;
        self.since_ns = now_ns;
    }

    pub(super) fn count_call(&mut self) {
        self.calls += 1;
    }

    /// A batch is over.
    pub(super) fn end_batch(&mut self, now_ns: u64) {
        if let Some(each_ns) = now_ns.saturating_sub(self.since_ns).checked_div(self.calls) {
            self.most = (HELD_NS_MAX / each_ns.max(1)).saturating_sub(1) as usize;
        }
        self.begin_batch(now_ns);
    }
}

impl Reactor {
    /// Whether the response of the job that was just given out may be held back.
    pub fn may_hold(&self) -> bool {
        let held = self.held.responses.len();
        held < self.held.most && !self.app_is_slow && (held > 0 || self.has_work())
    }

    /// Takes a connection back whose response is in its output and may wait.
    pub fn hold_back(&mut self, connection: Box<Connection>, then_close: bool) {
        if self.held.responses.is_empty() {
            self.held.first_ns = connection.app_began_ns;
        }
        self.held.responses.push_back((connection, then_close));
        if self.held.responses.len() >= self.held.most || !self.has_work() {
            self.let_go();
        }
    }

    /// Sends what was held back for too long. For those without a monitor, before each call.
    pub fn let_go_in_time(&mut self, now_ns: u64) {
        let is_late = now_ns.saturating_sub(self.held.first_ns) > HELD_NS_MAX;
        if is_late && !self.held.responses.is_empty() {
            self.let_go();
        }
    }

    /// A batch is over.
    pub fn end_batch(&mut self, now_ns: u64) {
        self.let_go();
        self.held.end_batch(now_ns);
    }

    /// Sends what was held back.
    pub fn let_go(&mut self) {
        while let Some((connection, then_close)) = self.held.responses.pop_front() {
            self.give_back(connection, then_close);
        }
    }
}
