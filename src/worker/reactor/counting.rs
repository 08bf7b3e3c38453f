//! What the reactor counts in the scoreboard. Whoever counts has the reactor, so there is one writer at a time.

use std::sync::atomic::Ordering::Relaxed;

use super::{Reactor, Refused};
use crate::{
    http::status::SWITCHING_PROTOCOLS,
    wire::{Count, Counters, Histogram, Slot},
    worker::connection::Connection,
};

impl Reactor {
    fn place(&self) -> &Slot {
        &self.board.slots()[self.slot]
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.place().counters
    }

    /// Counts a request that was with the app; to be called before the connection is given back. Returns when it was
    /// answered, CLOCK_MONOTONIC nanoseconds.
    pub fn count_answered(&mut self, connection: &mut Connection, status: u16) -> u64 {
        let answered_ns = connection.take_answered_ns();
        self.answered_ns = self.answered_ns.max(answered_ns);
        let call_ns = answered_ns.saturating_sub(connection.app_began_ns);
        self.streak.note(call_ns);
        let place = self.place();
        let method = connection.head().method(connection.request_bytes());
        place.counters.count_request(method, status);
        // A handshake's response ends with the WebSocket, so how long it took says nothing.
        if status != SWITCHING_PROTOCOLS {
            let began_ns = connection.request_began_ns;
            let wait_ns = connection.app_began_ns.saturating_sub(began_ns);
            let duration_ns = answered_ns.saturating_sub(began_ns);
            place.counters.observe(Histogram::Wait, wait_ns);
            place.counters.observe(Histogram::Duration, duration_ns);
            place.samples.take(duration_ns);
        }
        self.count_traffic(connection);
        answered_ns
    }

    pub(super) fn count_refused(&self, refused: &Refused) {
        let method = refused.line.split(|byte| *byte == b' ').next();
        let (counters, status) = (self.counters(), refused.refusal.status);
        counters.count_request(method.unwrap_or_default(), status);
        counters.count_refusal(status);
    }

    /// Takes note of what went through a connection.
    pub(in crate::worker) fn count_traffic(&self, connection: &mut Connection) {
        let (received, sent) = connection.take_traffic();
        if received > 0 {
            self.counters().add(Count::Received, received);
        }
        if sent > 0 {
            self.counters().add(Count::Sent, sent);
        }
    }

    /// Tells how many connections there are in each state.
    pub(super) fn show_states(&self) {
        let (gauges, here) = (&self.place().gauges, self.table.here());
        let waiting = self.waiting.requests();
        gauges.waiting.store(waiting as u32, Relaxed);
        gauges.idle.store(here.idle, Relaxed);
        gauges.reading.store(here.reading, Relaxed);
        gauges.writing.store(here.writing, Relaxed);
        gauges.closing.store(here.closing, Relaxed);
    }
}
