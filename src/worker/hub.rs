//! The worker inside an event loop that is not ours: asyncio's, gevent's. One thread runs the loop, the reactor and the app.
//!
//! The loop watches [`Hub::descriptor`]; when it is readable, and when the time that [`Hub::rest`] gave is over, the loop's
//! thread makes a turn: [`Hub::turn`] once, [`Hub::next_job`] until there is none, [`Hub::take_reports`], [`Hub::rest`].
//! Any number of jobs may be with the app at once, as many as `limits.connections`; each ends with [`Hub::finish`].
//!
//! There is a turn at least once a second, more often where `timeouts.worker` is short. Each says in the scoreboard that the loop lives, so an app that blocks the loop
//! is noticed by the arbiter: `timeouts.worker`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{
    connection::Connection,
    reactor::{EVENTS_MAX, Reactor, is_in_time},
    station::{Equipment, Station},
};
use crate::{
    sys::{self, Epoll, Event, Readiness},
    wire::{Count, IN_FLIGHT_SHOWN_MAX},
};

/// The longest time between two turns, milliseconds, and into how many turns `timeouts.worker` is parted at least.
const TURN_EVERY_MS_MAX: u64 = 1_000;
const TURNS_PER_TIMEOUT: u64 = 4;

/// Whether the worker's loop should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    No,
    /// Drained: no connection is left. What the app still does may come to its end.
    WhenDone,
    /// At once; [`Hub::grace_is_over`] tells how much what is nearly done may be waited for.
    Now,
}

pub struct Hub {
    reactor: Mutex<Reactor>,
    epoll: Arc<Epoll>,
    pub station: Station,
    /// Entries of the scoreboard that show a request, as bits.
    shown: AtomicU64,
    leaving: AtomicU8,
    /// When the process ends whatever it does; 0: never.
    leave_by_ns: AtomicU64,
    /// 0: it is not.
    draining_since_ns: AtomicU64,
}

impl Hub {
    pub fn new(reactor: Reactor, equipment: Equipment) -> io::Result<Self> {
        Ok(Self {
            epoll: reactor.epoll(),
            station: Station::new(equipment, &reactor)?,
            reactor: Mutex::new(reactor),
            shown: AtomicU64::new(0),
            leaving: AtomicU8::new(Leaving::No as u8),
            leave_by_ns: AtomicU64::new(0),
            draining_since_ns: AtomicU64::new(0),
        })
    }

    /// Readable when a turn is due.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Not to be kept while the app runs: it may come back here.
    pub fn reactor(&self) -> MutexGuard<'_, Reactor> {
        // A panic while it was locked ended one request; the table is consistent after each step.
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the worker has been draining; `None` while it is not.
    pub fn draining_for_ns(&self, now_ns: u64) -> Option<u64> {
        let since_ns = self.draining_since_ns.load(SeqCst);
        (since_ns != 0).then(|| now_ns.saturating_sub(since_ns))
    }

    pub fn leaving(&self) -> Leaving {
        match self.leaving.load(SeqCst) {
            0 => Leaving::No,
            1 => Leaving::WhenDone,
            _ => Leaving::Now,
        }
    }

    /// The worker cannot go on.
    pub fn abandon(&self) {
        self.leaving.store(Leaving::Now as u8, SeqCst);
    }

    /// Begins to leave without having been told to; the arbiter learns of it.
    pub fn drain(&self) {
        let mut reactor = self.reactor();
        self.station.drain_unasked(&mut reactor);
        reactor.wake();
    }

    /// Whether [`Hub::turn`] will read or write files, which should not be done with the interpreter held.
    pub fn has_cold_work(&self) -> bool {
        self.reactor().has_cold_work()
    }

    /// Begins a turn: does what was put off, keeps the deadlines, and asks for events without waiting.
    pub fn turn(&self) {
        self.show_life();
        self.station.slot().idle.store(0, SeqCst);
        let mut reactor = self.reactor();
        reactor.do_cold_work(sys::monotonic_ns());
        if reactor.has_work() {
            return;
        }
        let mut events = [Event::EMPTY; EVENTS_MAX];
        match self.epoll.wait(&mut events, 0) {
            Ok(count) => reactor.collect(&events[..count], sys::monotonic_ns()),
            Err(error) => {
                crate::critical!("epoll failed: {error}");
                self.leaving.store(Leaving::Now as u8, SeqCst);
            }
        }
    }

    /// The next request for the app. It counts as in flight until [`Hub::finish`].
    pub fn next_job(&self) -> Option<Box<Connection>> {
        let mut reactor = self.reactor();
        let mut connection = reactor.next_job()?;
        let now_ns = sys::monotonic_ns();
        reactor.let_go_in_time(now_ns);
        drop(reactor);
        self.station.request_ids.assign(&mut connection);
        let slot = self.station.slot();
        slot.stalled_since.store(now_ns, Relaxed);
        // Only the loop's thread changes it.
        let in_app = slot.gauges.in_app.load(Relaxed);
        slot.gauges.in_app.store(in_app + 1, Relaxed);
        connection.app_began_ns = now_ns;
        connection.shown_at = self.show(&connection, now_ns);
        Some(connection)
    }

    /// Events of connections that are with the app, where the reactor was told to report them. `into` is empty.
    pub fn take_reports(&self, into: &mut Vec<(u64, Readiness)>) {
        std::mem::swap(&mut self.reactor().reports, into);
    }

    /// Whether a small, complete response may wait for others in its connection's output: [`Hub::finish_held`].
    pub fn may_hold(&self, connection: &Connection) -> bool {
        let reactor = self.reactor();
        let began_ns = connection.app_began_ns;
        let since_ns = reactor.holds_since_ns().unwrap_or(began_ns);
        reactor.may_hold() && is_in_time(began_ns, since_ns, connection.answered_ns())
    }

    /// As [`Hub::finish`]; the response goes out with others, at the end of the turn at the latest.
    pub fn finish_held(&self, mut connection: Box<Connection>, then_close: bool, status: u16) {
        let mut reactor = self.count_finished(&mut connection, status);
        reactor.hold_back(connection, then_close, &[]);
    }

    /// A request is answered; its response is sent, or in the connection's output.
    pub fn finish(&self, mut connection: Box<Connection>, then_close: bool, status: u16) {
        let mut reactor = self.count_finished(&mut connection, status);
        reactor.give_back(connection, then_close);
    }

    fn count_finished(&self, connection: &mut Connection, status: u16) -> MutexGuard<'_, Reactor> {
        self.hide(connection.shown_at);
        self.station.count(status);
        let in_app = &self.station.slot().gauges.in_app;
        in_app.store(in_app.load(Relaxed) - 1, Relaxed);
        if connection.is_taken {
            self.station.count_closed();
        }
        let mut reactor = self.reactor();
        reactor.count_answered(connection, status);
        reactor
    }

    /// The app has accepted a WebSocket.
    pub fn count_opened(&self) {
        self.station.count_opened();
    }

    /// A WebSocket that the app had accepted is over; [`Hub::finish`] comes next.
    pub fn count_closed(&self) {
        self.station.count_closed();
    }

    /// The app takes the socket of a request that is with it.
    pub fn let_take(&self, connection: &mut Connection) {
        let mut reactor = self.reactor();
        reactor.let_take(connection);
        self.station.count_opened();
    }

    /// One message of a WebSocket, [`Count::MessagesReceived`] or [`Count::MessagesSent`].
    pub fn count_message(&self, direction: Count) {
        self.station.slot().counters.add(direction, 1);
    }

    /// What went through a connection so far: it may stay with the app for long.
    pub fn count_traffic(&self, connection: &mut Connection) {
        self.reactor().count_traffic(connection);
    }

    /// Makes the descriptor readable: what was finished outside a turn may have left something to do.
    pub fn ask_for_turn(&self) {
        self.reactor().wake();
    }

    /// Whether nothing that is with the app may be waited for any longer.
    pub fn grace_is_over(&self) -> bool {
        sys::monotonic_ns() >= self.leave_by_ns.load(SeqCst)
    }

    /// Ends a turn. Returns after how many milliseconds the next one is due at the latest. Without the interpreter: it may
    /// write the log.
    pub fn rest(&self) -> u64 {
        let mut reactor = self.reactor();
        let now_ns = sys::monotonic_ns();
        reactor.let_go();
        let orders = self.station.attend(&mut reactor);
        if let Some(grace_ns) = orders.leave_within_ns {
            self.leave_by_ns
                .store(now_ns.saturating_add(grace_ns), SeqCst);
        }
        if reactor.is_draining() && self.draining_since_ns.load(SeqCst) == 0 {
            self.draining_since_ns.store(now_ns, SeqCst);
        }
        let leave_by_ns = self.leave_by_ns.load(SeqCst);
        let leaving = match (orders.leave, reactor.is_drained()) {
            _ if leave_by_ns != 0 && now_ns >= leave_by_ns => Leaving::Now,
            (true, false) => Leaving::Now,
            (true, true) => Leaving::WhenDone,
            (false, _) => Leaving::No,
        };
        self.leaving.fetch_max(leaving as u8, SeqCst);
        let begins_work = reactor.has_work() && self.leaving() == Leaving::No;
        if begins_work || reactor.has_cold_work() {
            return 0;
        }
        let timeout_ms = reactor.prepare_wait(1);
        let would_take = reactor.takes_from_lobby();
        let turn_every_ms = match reactor.settings.stall_ms / TURNS_PER_TIMEOUT {
            0 => TURN_EVERY_MS_MAX,
            every_ms => every_ms.min(TURN_EVERY_MS_MAX),
        };
        drop(reactor);
        self.station
            .slot()
            .idle
            .store(u32::from(would_take), SeqCst);
        let longest_ms = match leave_by_ns.saturating_sub(now_ns) / 1_000_000 {
            0 => turn_every_ms,
            left_ms => turn_every_ms.min(left_ms + 1),
        };
        match u64::try_from(self.station.with_logs(timeout_ms)) {
            Ok(timeout_ms) => timeout_ms.min(longest_ms),
            Err(_) => longest_ms,
        }
    }

    /// For the arbiter, which replaces a worker that has not shown any for `timeouts.worker`.
    pub fn show_life(&self) {
        let slot = self.station.slot();
        slot.stalled_since.store(sys::monotonic_ns(), Relaxed);
    }

    /// Shows a request in the scoreboard; returns the entry, or one beyond all where there are too many.
    fn show(&self, connection: &Connection, now_ns: u64) -> u8 {
        // Only the loop's thread changes the bits.
        let shown = self.shown.load(Relaxed);
        let free = shown.trailing_ones() as usize;
        let entries = &self.station.slot().in_flight;
        if let Some(entry) = entries.get(free).filter(|_| free < IN_FLIGHT_SHOWN_MAX) {
            let (request, head) = (connection.request_bytes(), connection.head());
            self.shown.store(shown | 1 << free, Relaxed);
            entry.begin(now_ns, head.method(request), head.target(request));
        }
        free as u8
    }

    fn hide(&self, shown_at: u8) {
        if let Some(entry) = self.station.slot().in_flight.get(usize::from(shown_at)) {
            entry.end();
            self.shown
                .store(self.shown.load(Relaxed) & !(1 << shown_at), Relaxed);
        }
    }
}
