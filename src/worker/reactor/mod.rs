//! The reactor: every connection of a worker, behind one pollable descriptor. Events go in, complete requests come out.
//!
//! It reads, parses and buffers; it never calls the app and never waits. Which thread polls it, and which one calls the
//! app, is the crew's business. The code here may run with or without the interpreter held; what touches a file is put
//! off until [`Reactor::do_cold_work`], which is called without.
//!
//! Invariants: a connection is in the table as `Here` or lent to one thread, never both. Only an idle connection is
//! handed over. Every connection that is here has a deadline and stands in the timers.

mod counting;
mod drain;
mod grouping;
mod health;
mod holding;
mod intake;
mod introduction;
mod progress;
mod room;
mod streaming;
mod taken;
mod waiting;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use drain::Drain;
use grouping::Streak;
use holding::Held;
pub(super) use holding::{QUICK_CALL_NS_MAX, is_in_time};
use waiting::{InLine, Waiting};

use super::{
    acceptor::Acceptor,
    connection::{Connection, Stage},
    health::{Probe, Verdict},
    lobby::Lobby,
    peer::Peer,
    settings::Settings,
    table::{NO_BUCKET, Place, Table},
    timers::Timers,
};
use crate::{
    http::{Refusal, forwarded::Node},
    sys::{self, Epoll, Event, Readiness, Watch, net},
    wire::Scoreboard,
};

/// Tokens with this bit are not connections.
const SPECIAL: u64 = 1 << 63;
const LOBBY: u64 = SPECIAL;
const SIGNALS: u64 = SPECIAL + 1;
const LIFELINE: u64 = SPECIAL + 2;
const WAKE: u64 = SPECIAL + 3;
const HEALTH: u64 = SPECIAL + 4;
const WAKEUPS: u64 = SPECIAL + 5;
const FIRST_LISTENER: u64 = SPECIAL + 16;

/// Events fetched at once.
pub(super) const EVENTS_MAX: usize = 64;
/// How long an idle connection keeps its input buffer.
const BUFFER_KEPT_MS: u64 = 2_000;
/// The longest wait while there are connections: deadlines may have been set by another thread meanwhile.
const WAIT_MS_MAX: u64 = 1_000;
/// For how long after a look for events requests that stepped aside are served before the next one, nanoseconds: many of the
/// shortest calls, so that looks cost them nothing, and a moment for whoever is not in sight.
const ASIDE_NS_MAX: u64 = 500_000;

/// What woke the reactor beside connections; the crew acts on it.
#[derive(Default)]
pub struct Calls {
    pub signals: bool,
    pub arbiter_is_gone: bool,
    /// The interpreter has something to do on its main thread.
    pub wakeups: bool,
    /// The health check is over.
    pub health: Option<Verdict>,
    /// It cannot go on.
    pub is_broken: bool,
}

/// A request that was refused before there was a job, for the access log.
pub struct Refused {
    pub peer: Peer,
    /// Whom a trusted proxy told, if the request was good enough to be read.
    pub client: Option<Node>,
    pub refusal: Refusal,
    /// The request line as far as it was received.
    pub line: Vec<u8>,
    pub answer_head: Vec<u8>,
    pub body_bytes: u64,
    /// Since the first byte of the request; zero if it came at once.
    pub lasted: Duration,
}

pub struct Reactor {
    epoll: Arc<Epoll>,
    table: Table,
    timers: Timers,
    /// What epoll reported and nobody has looked at.
    events: VecDeque<Event>,
    waiting: Waiting,
    /// Connections that had more to receive than their turn allowed; they go on after the next look for events.
    again: Vec<u64>,
    /// Those whose next turn has come.
    turns: VecDeque<u64>,
    /// Events that would touch a file.
    cold: Vec<(u64, Readiness)>,
    pub acceptor: Acceptor,
    lobby: Lobby,
    lobby_is_watched: bool,
    /// Counts the calls of a slow app: whether the lobby's turn has come, or a backlog's.
    lobby_rota: usize,
    pub settings: Settings,
    board: Arc<Scoreboard>,
    slot: usize,
    pub now_ns: u64,
    now_ms: u64,
    /// The last look for events, CLOCK_MONOTONIC nanoseconds.
    looked_ns: u64,
    /// The last time that a request was answered.
    answered_ns: u64,
    /// Listeners and lobby are not watched because there are too many connections.
    lacks_room: bool,
    /// Takes connections; before, it serves its own health check alone.
    is_open: bool,
    /// The health check while it lasts.
    health: Option<Probe>,
    drain: Option<Drain>,
    /// Taking a connection failed for lack of descriptors; not before this moment again.
    accept_again_ms: u64,
    /// Not to look again before this moment whether there are too many connections here.
    rebalance_again_ms: u64,
    /// None could be given up for others: not to look again before this moment.
    look_for_room_ms: u64,
    pub calls: Calls,
    pub refused: Vec<Refused>,
    /// Eager mode of the crew: take no more connections than can be served at once.
    pub app_is_slow: bool,
    /// Where requests are streamed: what happened to connections that are with the app.
    pub(in crate::worker) reports: Vec<(u64, Readiness)>,
    wake: sys::Bell,
    held: Held,
    streak: Streak,
}

impl Reactor {
    pub fn new(
        settings: Settings,
        acceptor: Acceptor,
        lobby: Lobby,
        board: Arc<Scoreboard>,
        slot: usize,
    ) -> io::Result<Self> {
        let now_ns = sys::monotonic_ns();
        let epoll = Epoll::create()?;
        let wake = sys::Bell::create()?;
        epoll.add(wake.as_fd(), WAKE, Watch::Level)?;
        Ok(Self {
            epoll: Arc::new(epoll),
            table: Table::default(),
            timers: Timers::new(now_ns / 1_000_000),
            events: VecDeque::with_capacity(EVENTS_MAX),
            waiting: Waiting::default(),
            again: Vec::new(),
            turns: VecDeque::new(),
            cold: Vec::new(),
            acceptor,
            lobby,
            lobby_is_watched: false,
            lobby_rota: 0,
            settings,
            board,
            slot,
            now_ns,
            now_ms: now_ns / 1_000_000,
            looked_ns: now_ns,
            answered_ns: now_ns,
            lacks_room: false,
            is_open: false,
            health: None,
            drain: None,
            accept_again_ms: 0,
            rebalance_again_ms: 0,
            look_for_room_ms: 0,
            calls: Calls::default(),
            refused: Vec::new(),
            app_is_slow: false,
            reports: Vec::new(),
            wake,
            held: Held::default(),
            streak: Streak::default(),
        })
    }

    /// What the leading thread waits on, without holding the reactor.
    pub fn epoll(&self) -> Arc<Epoll> {
        Arc::clone(&self.epoll)
    }

    /// Wakes whoever waits on the epoll instance.
    pub fn wake(&self) {
        self.wake.ring();
    }

    pub fn watch_signals(&self, signals: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.add(signals, SIGNALS, Watch::Level)
    }

    pub fn watch_lifeline(&self, lifeline: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.add(lifeline, LIFELINE, Watch::Level)
    }

    /// What the interpreter makes readable: [`Calls::wakeups`].
    pub fn watch_wakeups(&self, wakeups: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.add(wakeups, WAKEUPS, Watch::Level)
    }

    /// Whether a response may say that the connection goes on. A server that stops says `Connection: close`.
    pub fn may_persist(&self) -> bool {
        self.settings.keepalive_ms > 0 && !self.is_closing()
    }

    /// Takes what epoll reported.
    pub fn collect(&mut self, events: &[Event], now_ns: u64) {
        self.set_now(now_ns);
        self.looked_ns = now_ns;
        self.events.extend(events);
        for token in self.again.drain(..) {
            if let Some(lent) = self.table.lent(token) {
                lent.is_in_again = false;
            }
            self.turns.push_back(token);
        }
        self.waiting.line_up();
    }

    fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.now_ms = now_ns / 1_000_000;
    }

    /// The next request in the line, without looking at new events.
    pub fn next_in_line(&mut self) -> Option<Box<Connection>> {
        loop {
            let connection = match self.waiting.pop()? {
                InLine::Request(connection) => Some(connection),
                InLine::Unread(token) => self.on_connection(token, Readiness::READABLE),
            };
            if connection.is_some() {
                return connection;
            }
        }
    }

    /// A request that waits for a thread, for one that does not lead while another looks for events.
    pub fn next_waiting_job(&mut self) -> Option<Box<Connection>> {
        let in_line = self.next_in_line();
        in_line.or_else(|| self.waiting.pop_aside())
    }

    /// The next complete request, for the leading thread to run it. Of those that stepped aside none once it is time to look for
    /// events.
    pub fn next_job(&mut self) -> Option<Box<Connection>> {
        if self.waiting.is_line_empty() {
            self.receive_group();
        }
        loop {
            if let Some(connection) = self.next_in_line() {
                return Some(connection);
            }
            if let Some(event) = self.events.pop_front() {
                if let Some(connection) = self.on_event(event, true) {
                    return Some(connection);
                }
            } else if let Some(token) = self.turns.pop_front() {
                if let Some(connection) = self.on_connection(token, Readiness::READABLE) {
                    return Some(connection);
                }
            } else if self.answered_ns.saturating_sub(self.looked_ns) <= ASIDE_NS_MAX {
                return self.waiting.pop_aside();
            } else {
                return None;
            }
        }
    }

    /// Receives until there is a request to run; false when no event brings one.
    pub fn fetch_job(&mut self) -> bool {
        if self.waiting.requests_in_line() == 0
            && let Some(connection) = self.next_job()
        {
            self.waiting.push_first(connection);
        }
        self.waiting.requests_in_line() > 0
    }

    /// Handles what has come in while every thread is with the app: requests on idle connections wait in the lobby, where
    /// whichever worker is free first takes them, in the order in which they came. Without another worker they wait here.
    pub fn pump_while_busy(&mut self) {
        self.offer_unread();
        while let Some(event) = self.events.pop_front() {
            if let Some(connection) = self.on_event(event, false) {
                self.waiting.push(connection);
            }
        }
        // What is left of large requests: no event will tell of it, and their time would run out.
        while let Some(token) = self.turns.pop_front() {
            if let Some(connection) = self.on_connection(token, Readiness::READABLE) {
                self.waiting.push(connection);
            }
        }
        self.show_states();
    }

    /// How many wait for a thread.
    pub fn waiting_jobs(&self) -> usize {
        self.waiting.len()
    }

    /// Anything that a free thread could go on with without looking for events.
    pub fn has_work(&self) -> bool {
        !self.events.is_empty() || !self.turns.is_empty() || !self.waiting.is_line_empty()
    }

    /// Anything that goes on with the next turn of the loop, and of which no event will tell.
    pub fn needs_turn(&self) -> bool {
        let gained_room = self.lacks_room && self.room() > 0;
        !self.again.is_empty() || self.has_cold_work() || gained_room
    }

    /// Whether [`Reactor::do_cold_work`] would read or write files.
    pub fn has_cold_work(&self) -> bool {
        !self.cold.is_empty()
    }

    fn on_event(&mut self, event: Event, thread_is_free: bool) -> Option<Box<Connection>> {
        let token = event.token();
        if token & SPECIAL == 0 {
            if !thread_is_free && !event.readiness().has_ended() && self.is_idle(token) {
                self.offer(token);
                return None;
            }
            return self.on_connection(token, event.readiness());
        }
        match token {
            LOBBY => self.welcome_guests(thread_is_free),
            SIGNALS => self.calls.signals = true,
            LIFELINE => {
                // Level-triggered and closed for ever: once is enough.
                self.calls.arbiter_is_gone = true;
            }
            WAKE => drop(self.wake.drain()),
            HEALTH => self.hear_health(),
            WAKEUPS => self.calls.wakeups = true,
            listener => self.let_in((listener - FIRST_LISTENER) as usize, thread_is_free),
        }
        None
    }

    fn is_idle(&mut self, token: u64) -> bool {
        match self.table.entry(token).map(|entry| &entry.place) {
            Some(Place::Here(connection)) => connection.is_idle(),
            _ => false,
        }
    }

    fn on_connection(&mut self, token: u64, readiness: Readiness) -> Option<Box<Connection>> {
        let Some(mut connection) = self.table.take(token) else {
            self.on_lent(token, readiness);
            return None;
        };
        if connection.touches_files() {
            self.table.put(connection);
            self.cold.push((token, readiness));
            return None;
        }
        self.progress(&mut connection, readiness)
            .settle(self, connection)
    }

    /// Goes on with everything that may read or write a file, and with the deadlines. Without the interpreter.
    pub fn do_cold_work(&mut self, now_ns: u64) {
        self.set_now(now_ns);
        self.let_go();
        for (token, readiness) in std::mem::take(&mut self.cold) {
            let Some(mut connection) = self.table.take(token) else {
                self.on_cold_lent(token, readiness);
                continue;
            };
            if let Some(job) = self
                .progress(&mut connection, readiness)
                .settle(self, connection)
            {
                self.waiting.push_aside(job);
            }
        }
        while let Some((bucket, tokens)) = self.timers.expire(self.now_ms) {
            for token in tokens {
                self.on_timer(token, bucket);
            }
        }
        self.attend_health();
        self.go_on_draining();
    }

    /// Takes a connection back from the thread that ran the app for it. Its response is sent, or is in its output.
    pub fn give_back(&mut self, mut connection: Box<Connection>, then_close: bool) {
        // What comes next begins now, not at the last look for events.
        let seen_ns = self.now_ns;
        self.set_now(seen_ns.max(self.answered_ns));
        let lent = self.table.take_lent(connection.token);
        let events = lent.events.unwrap_or(Readiness::NONE);
        connection.unread |= events.can_read();
        connection.end_was_announced |= events.has_ended();
        connection.output.append(lent.output);
        drop(lent.socket);
        connection.stage = Stage::Replying { then_close };
        connection.deadline_ms = u64::MAX;
        let outcome = if connection.is_taken {
            // Its client may still say goodbye.
            self.start_lingering(&mut connection)
        } else if lent.broken || events.is_broken() {
            Outcome::Close
        } else if connection.output.is_empty() {
            self.after_reply(&mut connection, then_close)
        } else if connection.touches_files() {
            connection.deadline_ms = self.now_ms + self.settings.write_ms;
            self.cold.push((connection.token, Readiness::NONE));
            Outcome::Wait
        } else {
            self.flush(&mut connection, Readiness::NONE)
        };
        if let Some(job) = outcome.settle(self, connection) {
            self.waiting.push_aside(job);
        }
        self.set_now(seen_ns);
        self.show_states();
    }

    /// From now on by these settings. Deadlines that run keep theirs until the next one is set.
    pub fn go_by(&mut self, mut settings: Settings) {
        settings.streams = self.settings.streams;
        self.settings = settings;
    }

    /// Makes sure that the kernel reports events of a connection.
    pub fn register(&mut self, connection: &Connection) {
        if !connection.is_registered.get() {
            connection.is_registered.set(
                self.epoll
                    .add(connection.socket(), connection.token, Watch::Edge)
                    .is_ok(),
            );
        }
    }

    /// Has a connection that is with the app reported as readable in the next turn: there is more of it, of which no event
    /// will tell. However often this is asked for, it is reported once.
    pub fn look_again(&mut self, token: u64) {
        if let Some(lent) = self.table.lent(token)
            && !std::mem::replace(&mut lent.is_in_again, true)
        {
            self.again.push(token);
        }
    }

    fn on_timer(&mut self, token: u64, bucket: u64) {
        let now_ms = self.now_ms;
        let Some(entry) = self.table.entry(token) else {
            return;
        };
        if entry.bucket != bucket {
            return;
        }
        entry.bucket = NO_BUCKET;
        let deadline_ms = match &mut entry.place {
            Place::Nobody => return,
            Place::Here(connection) => {
                connection.release_buffer();
                connection.deadline_ms
            }
            Place::Lent(_) => {
                self.expire_lent(token);
                now_ms + WAIT_MS_MAX
            }
        };
        if deadline_ms > now_ms {
            self.arm(token, deadline_ms);
        } else if let Some(mut connection) = self.table.take(token)
            && let Some(job) = self.expire(&mut connection).settle(self, connection)
        {
            self.waiting.push_aside(job);
        }
    }

    fn arm(&mut self, token: u64, deadline_ms: u64) {
        if let Some(entry) = self.table.entry(token)
            && Timers::bucket_of(deadline_ms) < entry.bucket
        {
            entry.bucket = self.timers.insert(token, deadline_ms);
        }
    }

    fn hold(&mut self, mut connection: Box<Connection>) {
        self.register(&connection);
        self.count_traffic(&mut connection);
        let look_ms = match connection.has_buffer() {
            true => self.now_ms + BUFFER_KEPT_MS,
            false => u64::MAX,
        };
        self.arm(connection.token, connection.deadline_ms.min(look_ms));
        self.table.put(connection);
    }

    fn close(&mut self, mut connection: Box<Connection>) {
        self.count_traffic(&mut connection);
        self.table.close(connection.token);
        if connection.is_taken {
            // What the app left behind may have the socket, and wait for it.
            net::shut_down(connection.socket());
        }
        drop(connection);
        self.count_connections();
    }

    fn count_connections(&self) {
        self.board.slots()[self.slot]
            .connections
            .store(self.table.len() as u32, SeqCst);
    }

    /// A closed lifeline would report so for ever.
    pub fn forget_lifeline(&self, lifeline: BorrowedFd<'_>) {
        let _ = self.epoll.remove(lifeline);
    }
}

/// What becomes of a connection that the reactor just looked at.
enum Outcome {
    /// It waits for its peer.
    Wait,
    /// Its request is complete.
    Job,
    HandOver,
    Close,
}

impl Outcome {
    /// Puts the connection where it belongs; a job is returned.
    fn settle(self, reactor: &mut Reactor, connection: Box<Connection>) -> Option<Box<Connection>> {
        match self {
            Self::Wait => reactor.hold(connection),
            Self::Job => return Some(connection),
            Self::Close => reactor.close(connection),
            Self::HandOver => {
                if let Err(connection) = reactor.hand_over(connection) {
                    reactor.hold(connection);
                    reactor.hand_over_later();
                }
            }
        }
        None
    }
}
