//! The reactor: every connection of a worker, behind one pollable descriptor. Events go in, complete requests come out.
//!
//! It reads, parses and buffers; it never calls the app and never waits. Which thread polls it, and which one calls the
//! app, is the crew's business. The code here may run with or without the interpreter held; what touches a file is put
//! off until [`Reactor::do_cold_work`], which is called without.
//!
//! Invariants: a connection is in the table as `Here` or lent to one thread, never both. Only an idle connection is
//! handed over. Every connection that is here has a deadline and stands in the timers.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{
    acceptor::Acceptor,
    connection::{Connection, Peer, Stage, Step},
    lobby::Lobby,
    settings::Settings,
    table::{Lent, NO_BUCKET, Place, Table},
    timers::Timers,
};
use crate::{
    http::{Refusal, date, response},
    sys::{
        self, Epoll, Event, Readiness, Watch,
        net::{self, PeerAddress},
    },
    wire::Scoreboard,
};

/// Tokens with this bit are not connections.
const SPECIAL: u64 = 1 << 63;
const LOBBY: u64 = SPECIAL;
const SIGNALS: u64 = SPECIAL + 1;
const LIFELINE: u64 = SPECIAL + 2;
const WAKE: u64 = SPECIAL + 3;
const FIRST_LISTENER: u64 = SPECIAL + 16;

/// Events fetched at once.
pub(super) const EVENTS_MAX: usize = 64;
/// Connections accepted for one event.
const ACCEPTS_MAX: usize = 64;
/// Receives on one connection before the others get their turn.
const RECEIVES_MAX: usize = 4;
/// How long an idle connection may still send a request to a server that stops, and how long a closed one lingers.
const LINGER_MS: u64 = 1_000;
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// While this worker is above its share it looks again after this long.
const SHARE_RECHECK_MS: u64 = 50;
/// The longest wait while there are connections: deadlines may have been set by another thread meanwhile.
const WAIT_MS_MAX: u64 = 1_000;

/// What woke the reactor beside connections; the crew acts on it.
#[derive(Default)]
pub struct Calls {
    pub signals: bool,
    pub arbiter_is_gone: bool,
}

/// A request that was refused before there was a job, for the access log.
pub struct Refused {
    pub peer: Peer,
    pub refusal: Refusal,
    /// The request line as far as it was received.
    pub line: Vec<u8>,
}

struct Drain {
    /// The whole server stops: there is nobody to hand a connection to.
    closing: bool,
}

pub struct Reactor {
    epoll: Arc<Epoll>,
    table: Table,
    timers: Timers,
    events: [Event; EVENTS_MAX],
    next_event: usize,
    end_event: usize,
    /// Complete requests without a thread.
    ready: VecDeque<Box<Connection>>,
    /// Connections that had more to receive than their turn allowed.
    again: VecDeque<u64>,
    /// Events that would touch a file.
    cold: Vec<(u64, Readiness)>,
    /// Events of idle connections that came while no thread was free: left unread, so that another worker may have them.
    put_off: VecDeque<u64>,
    pub acceptor: Acceptor,
    lobby: Lobby,
    lobby_is_watched: bool,
    pub settings: Settings,
    board: Arc<Scoreboard>,
    slot: usize,
    pub now_ns: u64,
    now_ms: u64,
    drain: Option<Drain>,
    /// Accepting failed for lack of descriptors; not before this moment again.
    accept_again_ms: u64,
    /// Not to look again before this moment whether there are too many connections here.
    rebalance_again_ms: u64,
    pub calls: Calls,
    pub refused: Vec<Refused>,
    /// Eager mode of the crew: take no more connections than can be served at once.
    pub app_is_slow: bool,
    /// Where requests are streamed: what happened to connections that are with the app.
    pub(super) reports: Vec<(u64, Readiness)>,
    wake: sys::Bell,
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
            events: [Event::EMPTY; EVENTS_MAX],
            next_event: 0,
            end_event: 0,
            ready: VecDeque::new(),
            again: VecDeque::new(),
            cold: Vec::new(),
            put_off: VecDeque::new(),
            acceptor,
            lobby,
            lobby_is_watched: false,
            settings,
            board,
            slot,
            now_ns,
            now_ms: now_ns / 1_000_000,
            drain: None,
            accept_again_ms: 0,
            rebalance_again_ms: 0,
            calls: Calls::default(),
            refused: Vec::new(),
            app_is_slow: false,
            reports: Vec::new(),
            wake,
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

    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether a response may say that the connection goes on. A server that stops says `Connection: close`.
    pub fn may_persist(&self) -> bool {
        self.settings.keepalive_ms > 0 && !self.is_closing()
    }

    fn is_closing(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.closing)
    }

    /// Draining, and nothing is held any more.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some() && self.table.is_empty()
    }

    /// Takes what epoll reported.
    pub fn collect(&mut self, events: &[Event], now_ns: u64) {
        debug_assert!(
            self.next_event == self.end_event,
            "the batch before is done"
        );
        self.set_now(now_ns);
        self.events[..events.len()].copy_from_slice(events);
        self.next_event = 0;
        self.end_event = events.len();
    }

    fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.now_ms = now_ns / 1_000_000;
    }

    /// A request that waits for a thread, without looking at new events.
    pub fn next_waiting_job(&mut self) -> Option<Box<Connection>> {
        loop {
            if let Some(connection) = self.ready.pop_front() {
                return Some(connection);
            }
            let token = self.put_off.pop_front()?;
            if let Some(connection) = self.on_connection(token, Readiness::READABLE) {
                return Some(connection);
            }
        }
    }

    /// The next complete request, for the leading thread to run it.
    pub fn next_job(&mut self) -> Option<Box<Connection>> {
        loop {
            if let Some(connection) = self.next_waiting_job() {
                return Some(connection);
            }
            if self.next_event < self.end_event {
                let event = self.events[self.next_event];
                self.next_event += 1;
                if let Some(connection) = self.on_event(event, None) {
                    return Some(connection);
                }
            } else if let Some(token) = self.again.pop_front() {
                if let Some(connection) = self.on_connection(token, Readiness::READABLE) {
                    return Some(connection);
                }
            } else {
                return None;
            }
        }
    }

    /// Handles what has come in while every thread is with the app: idle connections go to workers that are free, and the
    /// rest stays where it is.
    pub fn pump_while_busy(&mut self) {
        let mut takers = self.acceptor.idle_others();
        for token in std::mem::take(&mut self.put_off) {
            self.offer(token, &mut takers);
        }
        while self.next_event < self.end_event {
            let event = self.events[self.next_event];
            self.next_event += 1;
            if let Some(connection) = self.on_event(event, Some(&mut takers)) {
                self.ready.push_back(connection);
            }
        }
    }

    /// Requests wait for a thread.
    pub fn has_waiting_jobs(&self) -> bool {
        !self.ready.is_empty() || !self.put_off.is_empty()
    }

    /// Anything that a free thread could go on with at once.
    pub fn has_work(&self) -> bool {
        self.next_event < self.end_event || !self.again.is_empty() || self.has_waiting_jobs()
    }

    /// Whether [`Reactor::do_cold_work`] would read or write files.
    pub fn has_cold_work(&self) -> bool {
        !self.cold.is_empty()
    }

    /// `takers`: no thread is free here; so many other workers would take a connection at once.
    fn on_event(&mut self, event: Event, takers: Option<&mut usize>) -> Option<Box<Connection>> {
        let thread_is_free = takers.is_none();
        let token = event.token();
        if token & SPECIAL == 0 {
            if let Some(takers) = takers
                && !event.readiness().has_ended()
                && self.is_idle(token)
            {
                self.offer(token, takers);
                return None;
            }
            return self.on_connection(token, event.readiness());
        }
        match token {
            LOBBY => self.take_from_lobby(thread_is_free),
            SIGNALS => self.calls.signals = true,
            LIFELINE => {
                // Level-triggered and closed for ever: once is enough.
                self.calls.arbiter_is_gone = true;
            }
            WAKE => drop(self.wake.drain()),
            listener => self.accept((listener - FIRST_LISTENER) as usize, thread_is_free),
        }
        None
    }

    fn is_idle(&mut self, token: u64) -> bool {
        match self.table.entry(token).map(|entry| &entry.place) {
            Some(Place::Here(connection)) => matches!(connection.stage, Stage::Idle),
            _ => false,
        }
    }

    /// A request came in on an idle connection while no thread is free: another worker gets it, or it waits, unread.
    fn offer(&mut self, token: u64, takers: &mut usize) {
        if *takers > 0
            && let Some(connection) = self.table.take(token)
        {
            match self.hand_over(connection) {
                Ok(()) => {
                    *takers -= 1;
                    return;
                }
                Err(connection) => self.hold(connection),
            }
        }
        self.put_off.push_back(token);
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
        for (token, readiness) in std::mem::take(&mut self.cold) {
            let Some(mut connection) = self.table.take(token) else {
                self.on_lent(token, readiness);
                continue;
            };
            if let Some(job) = self
                .progress(&mut connection, readiness)
                .settle(self, connection)
            {
                self.ready.push_back(job);
            }
        }
        while let Some((bucket, tokens)) = self.timers.expire(self.now_ms) {
            for token in tokens {
                self.on_timer(token, bucket);
            }
        }
    }

    fn progress(&mut self, connection: &mut Connection, readiness: Readiness) -> Outcome {
        if !connection.output.is_empty() {
            return self.flush(connection, readiness);
        }
        match connection.stage {
            Stage::Idle | Stage::Head | Stage::InlineBody { .. } | Stage::Body(_)
                if readiness.can_read() =>
            {
                self.receive(connection, readiness.has_ended())
            }
            Stage::Lingering { .. } if readiness.can_read() => self.linger(connection),
            _ => Outcome::Wait,
        }
    }

    /// Reads a request as far as it has come.
    fn receive(&mut self, connection: &mut Connection, until_end: bool) -> Outcome {
        for _ in 0..RECEIVES_MAX {
            let was_idle = matches!(connection.stage, Stage::Idle);
            connection.half_closed |= until_end;
            let more = match connection.receive() {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.unread = false;
                    return Outcome::Wait;
                }
                Err(_) => return Outcome::Close,
            };
            connection.unread = more || until_end;
            match self.advance(connection, was_idle) {
                Outcome::Wait if connection.ended => return self.end_of_input(connection),
                Outcome::Wait if connection.unread => {}
                outcome => return outcome,
            }
        }
        self.again.push_back(connection.token);
        Outcome::Wait
    }

    /// Parses what was received, and sets the deadline for what is to come.
    fn advance(&mut self, connection: &mut Connection, was_idle: bool) -> Outcome {
        match connection.advance(&self.settings.limits) {
            Step::Request => {
                connection.request_began_ns = self.now_ns;
                return Outcome::Job;
            }
            Step::Refuse(refusal) => return self.refuse(connection, refusal),
            Step::Fail(error) => {
                crate::error!("slot={} cannot buffer a request body: {error}", self.slot);
                return self.refuse(
                    connection,
                    Refusal::new(500, "the request body could not be buffered"),
                );
            }
            Step::Input => {}
        }
        match connection.stage {
            Stage::Head if was_idle => {
                connection.deadline_ms = self.now_ms + self.settings.header_ms
            }
            Stage::InlineBody { .. } | Stage::Body(_) => {
                connection.deadline_ms = self.now_ms + self.settings.body_ms
            }
            _ => {}
        }
        if connection.take_continue() {
            connection.output.push_bytes(response::CONTINUE);
            return self.flush(connection, Readiness::NONE);
        }
        Outcome::Wait
    }

    /// The peer sends no more and its request is not complete.
    fn end_of_input(&mut self, connection: &mut Connection) -> Outcome {
        match connection.stage {
            Stage::Head | Stage::InlineBody { .. } | Stage::Body(_) => {
                self.refuse(connection, Refusal::new(400, "the request was cut short"))
            }
            _ => Outcome::Close,
        }
    }

    fn refuse(&mut self, connection: &mut Connection, refusal: Refusal) -> Outcome {
        let line = connection
            .request_bytes()
            .split(|byte| *byte == b'\r' || *byte == b'\n')
            .next();
        self.refused.push(Refused {
            peer: connection.peer,
            refusal,
            line: line
                .unwrap_or_default()
                .iter()
                .take(1024)
                .copied()
                .collect(),
        });
        let mut answer = Vec::new();
        refusal.write_response(&mut answer, &date::format(sys::unix_seconds()));
        connection.output.push_bytes(&answer);
        connection.stage = Stage::Replying { then_close: true };
        connection.unread = true;
        self.flush(connection, Readiness::NONE)
    }

    /// Sends what is pending; then the connection goes on as its stage says.
    fn flush(&mut self, connection: &mut Connection, readiness: Readiness) -> Outcome {
        if readiness.is_broken() {
            return Outcome::Close;
        }
        let mut output = std::mem::take(&mut connection.output);
        let mut progress = false;
        let sent = output.send(connection.socket(), &mut progress);
        connection.output = output;
        connection.unread |= readiness.can_read();
        match (sent, &connection.stage) {
            (Err(_), _) => Outcome::Close,
            (Ok(false), _) => {
                if progress || connection.deadline_ms == u64::MAX {
                    connection.deadline_ms = self.now_ms + self.settings.write_ms;
                }
                Outcome::Wait
            }
            (Ok(true), Stage::Replying { then_close }) => {
                let then_close = *then_close;
                self.after_reply(connection, then_close)
            }
            // An interim response is out; the request goes on.
            (Ok(true), _) if connection.unread => self.receive(connection, false),
            (Ok(true), _) => Outcome::Wait,
        }
    }

    /// The response is out.
    fn after_reply(&mut self, connection: &mut Connection, then_close: bool) -> Outcome {
        if then_close || (connection.ended && !connection.has_pipelined()) {
            let may_have_more = connection.unread || connection.has_pipelined();
            return if may_have_more && !connection.ended {
                self.start_lingering(connection)
            } else {
                Outcome::Close
            };
        }
        connection.finish_request();
        connection.deadline_ms = self.now_ms + self.settings.keepalive_ms;
        match self.advance(connection, true) {
            Outcome::Wait if connection.ended => return self.end_of_input(connection),
            Outcome::Wait => {}
            outcome => return outcome,
        }
        if connection.unread {
            return self.receive(connection, false);
        }
        if self.drain.is_some() && connection.is_movable() {
            if self.is_closing() {
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + LINGER_MS);
            } else {
                return Outcome::HandOver;
            }
        }
        Outcome::Wait
    }

    fn start_lingering(&mut self, connection: &mut Connection) -> Outcome {
        net::shut_down_writing(connection.socket());
        connection.stage = Stage::Lingering {
            bytes_left: LINGER_BYTES_MAX,
        };
        connection.deadline_ms = self.now_ms + LINGER_MS;
        connection.discard_input();
        self.linger(connection)
    }

    fn linger(&mut self, connection: &mut Connection) -> Outcome {
        loop {
            let received = connection.receive();
            let discarded = connection.discard_input();
            let Stage::Lingering { bytes_left } = &mut connection.stage else {
                return Outcome::Close;
            };
            *bytes_left = bytes_left.saturating_sub(discarded);
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Wait,
                Ok(_) if !connection.ended && *bytes_left > 0 => {}
                Ok(_) | Err(_) => return Outcome::Close,
            }
        }
    }

    /// Takes a connection back from the thread that ran the app for it. Its response is sent, or is in its output.
    pub fn give_back(&mut self, mut connection: Box<Connection>, then_close: bool) {
        let lent = self.table.take_lent(connection.token);
        let events = lent.events.unwrap_or(Readiness::NONE);
        connection.unread |= events.can_read();
        connection.output.append(lent.output);
        drop(lent.socket);
        connection.stage = Stage::Replying { then_close };
        connection.deadline_ms = u64::MAX;
        let outcome = if lent.broken || events.is_broken() {
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
            self.ready.push_back(job);
        }
    }

    /// Queues what a streaming app produced for a client that does not read fast enough. `Ok(false)`: too much waits
    /// already, try again later.
    pub fn queue_streamed(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> io::Result<bool> {
        self.register(connection);
        let deadline_ms = sys::monotonic_ns() / 1_000_000 + self.settings.write_ms;
        let Some(lent) = self.table.lent(connection.token) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        if lent.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if lent.output.is_full() {
            return Ok(false);
        }
        if lent.socket.is_none() {
            lent.socket = Some(connection.socket().try_clone_to_owned()?);
        }
        if lent.output.is_empty() {
            lent.deadline_ms = deadline_ms;
        }
        lent.output.push_streamed(bytes)?;
        flush_lent(lent, self.now_ms, self.settings.write_ms);
        self.arm(connection.token, deadline_ms);
        Ok(true)
    }

    /// Whether nothing of a streamed response waits here, so that the thread may send directly; an error when the client
    /// is gone.
    pub fn stream_is_clear(&mut self, token: u64) -> io::Result<bool> {
        match self.table.lent(token) {
            Some(lent) if !lent.broken => Ok(lent.output.is_empty()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
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

    fn on_lent(&mut self, token: u64, readiness: Readiness) {
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
            Place::Here(connection) => connection.deadline_ms,
            Place::Lent(lent) => {
                lent.broken |= !lent.output.is_empty() && lent.deadline_ms <= now_ms;
                now_ms + WAIT_MS_MAX
            }
        };
        if deadline_ms > now_ms {
            self.arm(token, deadline_ms);
        } else if let Some(mut connection) = self.table.take(token)
            && let Some(job) = self.expire(&mut connection).settle(self, connection)
        {
            self.ready.push_back(job);
        }
    }

    /// The current stage lasted too long.
    fn expire(&mut self, connection: &mut Connection) -> Outcome {
        match connection.stage {
            Stage::Head => self.refuse(connection, Refusal::HEAD_TIMEOUT),
            Stage::InlineBody { .. } | Stage::Body(_) => {
                self.refuse(connection, Refusal::BODY_TIMEOUT)
            }
            Stage::Idle | Stage::Request | Stage::Replying { .. } | Stage::Lingering { .. } => {
                Outcome::Close
            }
        }
    }

    fn arm(&mut self, token: u64, deadline_ms: u64) {
        if let Some(entry) = self.table.entry(token)
            && Timers::bucket_of(deadline_ms) < entry.bucket
        {
            entry.bucket = self.timers.insert(token, deadline_ms);
        }
    }

    fn hold(&mut self, connection: Box<Connection>) {
        self.register(&connection);
        self.arm(connection.token, connection.deadline_ms);
        self.table.put(connection);
    }

    fn close(&mut self, connection: Box<Connection>) {
        self.table.close(connection.token);
        drop(connection);
        self.count_connections();
    }

    fn count_connections(&self) {
        self.board.slots()[self.slot]
            .connections
            .store(self.table.len() as u32, SeqCst);
    }

    /// Leaves an idle connection to another worker.
    fn hand_over(&mut self, connection: Box<Connection>) -> Result<(), Box<Connection>> {
        if !connection.is_movable() {
            return Err(connection);
        }
        // The kernel reports events for as long as the socket is open anywhere, so it has to be told.
        if connection.is_registered.get() && self.epoll.remove(connection.socket()).is_ok() {
            connection.is_registered.set(false);
        }
        let listener = self.acceptor.listeners[connection.peer.listener].passed.id;
        if self.lobby.leave(listener, connection.socket()).is_err() {
            return Err(connection);
        }
        self.close(connection);
        Ok(())
    }

    fn take_from_lobby(&mut self, thread_is_free: bool) {
        let room = self
            .settings
            .connections_max
            .saturating_sub(self.table.len());
        let wanted = match (thread_is_free, self.app_is_slow) {
            (false, _) => 0,
            // One at a time where the app is slow: the others are for whoever is free.
            (true, true) => 1,
            (true, false) => self.acceptor.allowance(self.table.len()).max(1),
        };
        let count = wanted.min(room).min(ACCEPTS_MAX);
        if count == 0 {
            self.watch_lobby(false);
        }
        for _ in 0..count {
            let Some((listener, socket)) = self.lobby.take() else {
                return;
            };
            let Ok(address) = net::peer_address(socket.as_fd()) else {
                continue;
            };
            // A listener that this generation does not have: the first one stands in for its name.
            let listeners = &self.acceptor.listeners;
            let known = listeners
                .iter()
                .position(|known| known.passed.id == listener);
            let patience_ms = self.settings.keepalive_ms.max(LINGER_MS);
            self.welcome(socket, address, known.unwrap_or(0), patience_ms);
        }
    }

    /// Leaves idle connections beyond this worker's share to the others. Connections pile up where workers were free
    /// when they came; what keeps them alive would keep the imbalance.
    fn rebalance(&mut self) {
        if self.now_ms < self.rebalance_again_ms {
            return;
        }
        self.rebalance_again_ms = self.now_ms + SHARE_RECHECK_MS;
        let surplus = self.acceptor.surplus(self.table.len());
        if surplus == 0 || self.acceptor.idle_others() == 0 {
            return;
        }
        let mut left = surplus;
        for token in self.table.tokens_here() {
            if left == 0 {
                return;
            }
            if let Some(connection) = self.table.take(token) {
                match self.hand_over(connection) {
                    Ok(()) => left -= 1,
                    Err(connection) => self.hold(connection),
                }
            }
        }
    }

    fn accept(&mut self, listener: usize, thread_is_free: bool) {
        let room = self
            .settings
            .connections_max
            .saturating_sub(self.table.len());
        let others = if thread_is_free {
            0
        } else {
            self.acceptor.idle_others()
        };
        let allowed = match (thread_is_free, self.app_is_slow) {
            (false, _) => others,
            (true, true) => usize::from(self.ready.is_empty()),
            (true, false) => self.acceptor.allowance(self.table.len()),
        };
        let allowed = if self.is_closing() {
            room
        } else {
            allowed.min(room)
        };
        if allowed == 0 {
            self.acceptor.watch(false, &self.epoll, FIRST_LISTENER);
            return;
        }
        for _ in 0..allowed.min(ACCEPTS_MAX) {
            match net::accept(self.acceptor.listeners[listener].socket.as_fd()) {
                Ok((socket, address)) if thread_is_free => {
                    self.welcome(socket, address, listener, self.settings.header_ms);
                }
                Ok((socket, address)) => self.pass_on(socket, address, listener),
                Err(error) => {
                    self.on_accept_error(&error);
                    return;
                }
            }
        }
    }

    /// A connection was accepted for a worker that is free while this one is not.
    fn pass_on(&mut self, socket: OwnedFd, address: PeerAddress, listener: usize) {
        let id = self.acceptor.listeners[listener].passed.id;
        if self.lobby.leave(id, socket.as_fd()).is_err() {
            self.welcome(socket, address, listener, self.settings.header_ms);
        }
    }

    fn on_accept_error(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED | libc::EPROTO) => {}
            _ => {
                // Out of descriptors or memory: what waits stays in the backlog for a while.
                crate::warning!(
                    "slot={} cannot accept: {error}; trying again in a second",
                    self.slot
                );
                self.accept_again_ms = self.now_ms + 1_000;
                self.acceptor.watch(false, &self.epoll, FIRST_LISTENER);
            }
        }
    }

    /// A new connection; its first request is often there already.
    fn welcome(
        &mut self,
        socket: OwnedFd,
        address: PeerAddress,
        listener: usize,
        patience_ms: u64,
    ) {
        let peer = Peer {
            listener,
            address,
            trusted: self.settings.trusts(address),
        };
        let token = self.table.open();
        let mut connection = Box::new(Connection::new(socket, token, peer));
        connection.streams = self.settings.streams;
        connection.deadline_ms = self.now_ms + patience_ms;
        self.count_connections();
        if let Some(job) = self
            .receive(&mut connection, false)
            .settle(self, connection)
        {
            self.ready.push_back(job);
        }
    }

    /// Takes no new connections from now on. What is idle goes to other workers; when the whole server stops, what waits
    /// in the backlog is still taken, and every answer closes its connection.
    pub fn start_draining(&mut self, closing: bool) {
        if self.is_closing() {
            return;
        }
        self.drain = Some(Drain { closing });
        if closing {
            for listener in 0..self.acceptor.listeners.len() {
                self.accept(listener, true);
            }
            self.take_from_lobby(true);
        }
        self.acceptor.watch(false, &self.epoll, FIRST_LISTENER);
        self.watch_lobby(false);
        for token in self.table.tokens_here() {
            let Some(mut connection) = self.table.take(token) else {
                continue;
            };
            if closing && matches!(connection.stage, Stage::Idle) {
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + LINGER_MS);
                self.hold(connection);
            } else if let Err(connection) = self.hand_over_unless(closing, connection) {
                self.table.put(connection);
            }
        }
    }

    fn hand_over_unless(
        &mut self,
        closing: bool,
        connection: Box<Connection>,
    ) -> Result<(), Box<Connection>> {
        if closing {
            Err(connection)
        } else {
            self.hand_over(connection)
        }
    }

    /// Whether listeners and lobby are watched is decided anew; returns how long the wait may last, in milliseconds
    /// (-1: until something happens). `free_threads` could run the app now.
    pub fn prepare_wait(&mut self, free_threads: usize) -> i32 {
        let mut timeout_ms = self.timers.next_in_ms(self.now_ms).unwrap_or(u64::MAX);
        if !self.table.is_empty() {
            timeout_ms = timeout_ms.min(WAIT_MS_MAX);
        }
        if free_threads > 0 && self.drain.is_none() {
            let has_room = self.table.len() < self.settings.connections_max;
            let may_try = self.now_ms >= self.accept_again_ms;
            let has_share = self.acceptor.allowance(self.table.len()) > 0;
            if !has_share {
                self.rebalance();
                timeout_ms = timeout_ms.min(SHARE_RECHECK_MS);
            }
            let is_needed = has_share || self.acceptor.idle_others() == 0;
            self.acceptor.watch(
                has_room && may_try && is_needed,
                &self.epoll,
                FIRST_LISTENER,
            );
            self.watch_lobby(has_room && is_needed);
            if !may_try {
                timeout_ms = timeout_ms.min(SHARE_RECHECK_MS);
            }
        }
        if timeout_ms == u64::MAX {
            -1
        } else {
            timeout_ms as i32
        }
    }

    /// Whether a connection that another worker leaves would be taken at once.
    pub fn takes_from_lobby(&self) -> bool {
        self.lobby_is_watched
    }

    fn watch_lobby(&mut self, wanted: bool) {
        if wanted == self.lobby_is_watched {
            return;
        }
        let changed = if wanted {
            self.epoll.add(self.lobby.exit(), LOBBY, Watch::Level)
        } else {
            self.epoll.remove(self.lobby.exit())
        };
        self.lobby_is_watched = if changed.is_ok() {
            wanted
        } else {
            self.lobby_is_watched
        };
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
                }
            }
        }
        None
    }
}

/// Sends what a streaming app left here.
fn flush_lent(lent: &mut Lent, now_ms: u64, write_ms: u64) {
    let Some(socket) = &lent.socket else { return };
    let mut progress = false;
    lent.broken |= lent.output.send(socket.as_fd(), &mut progress).is_err();
    if progress {
        lent.deadline_ms = now_ms + write_ms;
    }
}
