//! Who leads: how leadership is kept, passed on and waited for.
//!
//! It is one atomic: who leads, and whether that thread is in the app. A thread that comes back from the app either finds
//! itself still leading or has been replaced.

use std::sync::atomic::Ordering::SeqCst;

use super::Crew;
use crate::{
    sys::{self, Event},
    worker::reactor::{EVENTS_MAX, Reactor},
};

/// The leader is in the app. The other bits of the leadership word are the seat.
pub(super) const IN_CALL: u32 = 1;

impl Crew {
    pub(super) fn leads(&self, seat: usize) -> bool {
        self.leader.load(SeqCst) == active(seat)
    }

    /// One turn of the loop: everything that was put off, then the wait for events.
    pub(super) fn lead(&self) {
        let free = self.seats.len() - self.busy.load(SeqCst) as usize;
        let timeout_ms = {
            let mut reactor = self.reactor();
            reactor.do_cold_work(sys::monotonic_ns());
            self.after_events(&mut reactor);
            let is_wanted = self.leads(0) && self.is_wanted(0);
            if reactor.has_work() || self.leaving.load(SeqCst) || is_wanted {
                return;
            }
            let timeout_ms = reactor.prepare_wait(free);
            let would_take = reactor.takes_from_lobby();
            self.slot().idle.store(u32::from(would_take), SeqCst);
            timeout_ms
        };
        let mut events = [Event::EMPTY; EVENTS_MAX];
        let result = self
            .epoll
            .wait(&mut events, self.station.with_logs(timeout_ms));
        self.slot().idle.store(0, SeqCst);
        match result {
            Ok(count) => self.collect(&mut self.reactor(), &events[..count]),
            Err(error) => self.fail(&error),
        }
    }

    /// Waits as a follower for leadership, or for a request that the monitor read. From the monitor, which leads only while
    /// no thread can, leadership is taken back.
    pub(super) fn follow(&self, me: usize) {
        let seat = &self.seats[me];
        seat.is_free.store(true, SeqCst);
        {
            let reactor = self.reactor();
            let monitor_leads = self.leads(self.seats.len());
            let has_reason = monitor_leads || reactor.waiting_jobs() > 0;
            if has_reason && seat.is_free.swap(false, SeqCst) {
                if monitor_leads {
                    // The monitor changes nothing without the lock that is held here.
                    self.leader.store(active(me), SeqCst);
                }
                return;
            }
        }
        while !self.leads(me) && !self.leaving.load(SeqCst) {
            // Who is promised leadership waits for it.
            if self.is_wanted(me) && seat.is_free.swap(false, SeqCst) {
                return;
            }
            std::thread::park();
        }
        seat.is_free.store(false, SeqCst);
    }

    /// The leader is in the app: somebody who is free takes over, else the monitor.
    pub(super) fn pass_leadership_on(&self, from: usize) {
        let heir = self.claim_free_seat().unwrap_or(self.seats.len());
        let passed = self
            .leader
            .compare_exchange(in_call(from), active(heir), SeqCst, SeqCst)
            .is_ok();
        match self.seats.get(heir) {
            Some(seat) if passed => seat.wake(),
            Some(seat) => {
                seat.is_free.store(true, SeqCst);
                seat.wake();
            }
            None if passed => self.wake_monitor(),
            None => {}
        }
    }

    /// A follower that is promised leadership; nobody else may promise it another.
    pub(super) fn claim_free_seat(&self) -> Option<usize> {
        self.seats
            .iter()
            .position(|seat| seat.is_free.load(SeqCst) && seat.is_free.swap(false, SeqCst))
    }

    /// Whether there is something to do for a leader that may be waiting for events, of which none will tell. One request that
    /// waits is for the thread that asks.
    pub(super) fn leader_sleeps_on(&self, reactor: &Reactor) -> bool {
        let leader = self.leader.load(SeqCst);
        let may_sleep = leader & IN_CALL == 0 && leader != active(self.seats.len());
        reactor.is_drained() || may_sleep && (reactor.needs_turn() || reactor.waiting_jobs() > 1)
    }
}

/// The word of leadership while this owner leads and is not in the app: a seat or, one above them, the monitor.
pub(super) fn active(owner: usize) -> u32 {
    (owner as u32) << 1
}

/// The same while it is in the app.
pub(super) fn in_call(owner: usize) -> u32 {
    active(owner) | IN_CALL
}
