//! Small responses that wait for company.
//!
//! The first byte on a socket wakes its client, which on an idle processor costs the sender more than the send itself; a
//! client that is awake already costs nothing, and one that shares a core with the app slows it down each time it wakes. So
//! while more requests of one batch are at hand, and calls are quick, complete responses are held back and then go out one
//! after the other. Should the app become slow just then, the monitor lets them go.

use super::{Connection, Reactor};
use crate::sys::net;

/// How long the first of several responses may wait for the others, nanoseconds.
const HELD_NS_MAX: u64 = 1_000_000;
/// A call that lasts longer is not quick: in the time of several such, waking clients costs next to nothing.
pub(in crate::worker) const QUICK_CALL_NS_MAX: u64 = 200_000;
/// Requests at hand for which a response waits: with one alone, a second client would only be idle for longer.
const COMPANY_MIN: usize = 2;
/// Responses held at once.
const RESPONSES_MAX: usize = 128;

#[derive(Default)]
pub(super) struct Held {
    responses: Vec<Response>,
    /// What is to be sent of them, one behind the other.
    bytes: Vec<u8>,
    /// When the app was called for the first of them, CLOCK_MONOTONIC nanoseconds.
    since_ns: u64,
}

struct Response {
    connection: Box<Connection>,
    then_close: bool,
    /// Where its bytes end.
    end: usize,
}

/// Whether a response may be held back now with those that have waited since `since_ns`: its call was quick, and the next
/// response is there in time, should its call take as long.
pub(in crate::worker) fn is_in_time(began_ns: u64, since_ns: u64, now_ns: u64) -> bool {
    let call_ns = now_ns.saturating_sub(began_ns);
    call_ns <= QUICK_CALL_NS_MAX && (now_ns + call_ns).saturating_sub(since_ns) <= HELD_NS_MAX
}

impl Reactor {
    /// Whether the response of the job that was just given out may be held back.
    pub fn may_hold(&self) -> bool {
        let has_room = self.held.responses.len() < RESPONSES_MAX;
        has_room && !self.app_is_slow && self.company_comes()
    }

    /// Whether enough is at hand to be waited for.
    fn company_comes(&self) -> bool {
        self.events.len() + self.turns.len() + self.waiting.len() >= COMPANY_MIN
    }

    /// Since when responses are held back, CLOCK_MONOTONIC nanoseconds; `None`: there are none.
    pub fn holds_since_ns(&self) -> Option<u64> {
        (!self.held.responses.is_empty()).then_some(self.held.since_ns)
    }

    /// Takes a connection back whose response may wait: `response`, or what is in its output.
    pub fn hold_back(&mut self, connection: Box<Connection>, then_close: bool, response: &[u8]) {
        let held = &mut self.held;
        if held.responses.is_empty() {
            held.since_ns = connection.app_began_ns;
        }
        held.bytes.extend_from_slice(response);
        held.responses.push(Response {
            connection,
            then_close,
            end: held.bytes.len(),
        });
        if !self.company_comes() {
            self.let_go();
        }
    }

    /// Sends what was held back for too long. For those without a monitor, before each call.
    pub fn let_go_in_time(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.held.since_ns) > HELD_NS_MAX {
            self.let_go();
        }
    }

    /// Sends what was held back.
    pub fn let_go(&mut self) {
        if self.held.responses.is_empty() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let mut start = 0;
        for Response {
            mut connection,
            then_close,
            end,
        } in held.responses.drain(..)
        {
            let bytes = &held.bytes[start..end];
            start = end;
            let next = match then_close {
                true => net::Next::Close,
                false => net::Next::Unknown,
            };
            if !bytes.is_empty() {
                // An error is met again by whoever sends the rest.
                let sent = connection.send(bytes, next).unwrap_or(0);
                connection.output.push_bytes(&bytes[sent..]);
            }
            self.give_back(connection, then_close);
        }
        // Nothing is held back meanwhile; the memory is used again.
        held.bytes.clear();
        self.held = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_waits_if_its_call_was_quick_and_the_next_is_there_in_time() {
        let since_ns = 5_000_000_000;
        let at = |microseconds: u64| since_ns + microseconds * 1_000;
        assert!(is_in_time(at(0), since_ns, at(60)), "the first");
        assert!(is_in_time(at(880), since_ns, at(940)), "one more fits in");
        assert!(!is_in_time(at(890), since_ns, at(950)), "none fits in");
        assert!(!is_in_time(at(0), since_ns, at(201)), "not quick");
    }
}
