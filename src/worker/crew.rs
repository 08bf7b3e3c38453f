//! The threads of a worker: one leads the reactor and calls the app on the spot, the others follow.
//!
//! The leader receives, calls the app and sends, with no queue and no other thread in between: that is all there is to a
//! fast app. A monitor looks at the leader each few milliseconds while calls come. When an app call lasts, leadership passes to
//! a thread that is free; when none is, the monitor leads itself: it goes on receiving, sending and keeping deadlines, and
//! gives what it can to workers that are free, but never calls the app. For a while after a slow call the leader passes
//! leadership on before it calls the app, so that nothing waits for the monitor's next look.
//!
//! Leadership is one atomic: who leads, and whether that thread is in the app. A thread that comes back from the app
//! either finds itself still leading or has been replaced. Locks are taken in one order: the interpreter first, then the
//! reactor; nobody waits for the interpreter with the reactor locked.

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::Thread,
    time::Duration,
};

use super::{
    connection::Connection,
    reactor::{EVENTS_MAX, QUICK_CALL_NS_MAX, Reactor},
    seat::Seat,
    station::{Equipment, Orders, Station},
};
use crate::{
    sys::{self, Alarm, Epoll, Event},
    wire::Slot,
};

/// The leader is in the app. The other bits of the leadership word are the seat.
const IN_CALL: u32 = 1;
/// An app call that lasts longer than this passes leadership on, and is slow if it is not the only one: it may have been a
/// quick call whose thread had to wait for a processor.
const SLOW_CALL_NS: u64 = 1_000_000;
/// No thread that can run waits for so long, but where a machine has far too much to do.
const CLEARLY_SLOW_CALL_NS: u64 = 10_000_000;
/// After a slow call, leadership is passed on before each call for this long.
const EAGER_NS: u64 = 50_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How often the monitor, leading, looks for events of connections that another worker could serve: the less, the longer
/// the calls take already.
const BUSY_LOOK_EVERY_MIN: Duration = Duration::from_micros(500);
const BUSY_LOOK_EVERY_MAX: Duration = Duration::from_millis(5);
/// The same where no other worker serves, and nobody could be given anything.
const LONELY_LOOK_EVERY: Duration = Duration::from_millis(10);
/// While leadership is passed on before each call, the monitor has only the limits of calls to watch; and where all calls have
/// been quick, each look costs more than the moment by which it would see the first slow one earlier.
const RELAXED_LOOK_EVERY: Duration = Duration::from_millis(5);
/// All calls have been quick: none was seen to be slow for this long.
const QUICK_FOR_NS: u64 = 1_000_000_000;

/// The monitor looks around, or will soon.
const AWAKE: u32 = 0;
/// The monitor sleeps until somebody sets its alarm.
const ASLEEP: u32 = 1;
/// Somebody has set it.
const ALARMED: u32 = 2;

/// What a thread does next.
pub enum Next {
    /// Run the app for this request, then [`Crew::finish`].
    Job(Box<Connection>),
    /// Nothing to run now: [`Crew::wait`], without the interpreter.
    Wait,
    /// The worker ends.
    Leave,
}

/// What the crew cannot do itself because it knows no Python.
pub trait Interpreter: Send + Sync {
    /// Raises an exception in the thread of a seat, if it is still in that call. May take long; runs on a thread of its own.
    fn interrupt(&self, seat: usize, call: u64);

    /// Logs what the thread of a seat is at, below this line, if it is still in that call. As above, on a thread of its own.
    fn show(&self, seat: usize, call: u64, headline: String);
}

pub struct Crew {
    reactor: Mutex<Reactor>,
    epoll: Arc<Epoll>,
    pub seats: Box<[Seat]>,
    leader: AtomicU32,
    /// Seats that are in the app.
    busy: AtomicU32,
    /// The app was slow not long ago, until this moment.
    slow_until_ns: AtomicU64,
    /// The last call that ended was slow.
    last_was_slow: AtomicBool,
    monitor: Mutex<Option<Thread>>,
    /// [`AWAKE`], [`ASLEEP`] or [`ALARMED`]
    monitor_state: AtomicU32,
    /// The monitor's.
    alarm: Alarm,
    /// All threads leave.
    leaving: AtomicBool,
    /// When the process ends whatever its threads do; 0: never.
    leave_by_ns: AtomicU64,
    interpreter: Box<dyn Interpreter>,
    pub station: Station,
}

impl Crew {
    /// A crew with so many seats; seat 0, the main thread's, leads first.
    pub fn new(
        reactor: Reactor,
        seats: usize,
        equipment: Equipment,
        interpreter: Box<dyn Interpreter>,
    ) -> std::io::Result<Self> {
        let station = Station::new(equipment, &reactor)?;
        station.slot().gauges.threads.store(seats as u32, Relaxed);
        Ok(Self {
            epoll: reactor.epoll(),
            seats: (0..seats).map(|_| Seat::default()).collect(),
            leader: AtomicU32::new(active(0)),
            busy: AtomicU32::new(0),
            slow_until_ns: AtomicU64::new(0),
            last_was_slow: AtomicBool::new(false),
            monitor: Mutex::new(None),
            monitor_state: AtomicU32::new(AWAKE),
            alarm: Alarm::create()?,
            leaving: AtomicBool::new(false),
            leave_by_ns: AtomicU64::new(0),
            interpreter,
            station,
            reactor: Mutex::new(reactor),
        })
    }

    fn slot(&self) -> &Slot {
        self.station.slot()
    }

    pub fn reactor(&self) -> MutexGuard<'_, Reactor> {
        // A panic while it was locked ended one request; the table is consistent after each step.
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread of a seat does next. With the interpreter held.
    pub fn next(&self, me: usize) -> Next {
        if self.leaving.load(SeqCst) {
            self.reactor().let_go();
            return Next::Leave;
        }
        let leads = self.leads(me);
        let mut reactor = self.reactor();
        reactor.let_one_join();
        let job = if leads {
            reactor.next_job()
        } else if self.leads(self.seats.len()) {
            // What stepped aside does so for the others: with leadership, which comes next, there is a look for them first.
            reactor.next_in_line()
        } else {
            reactor.next_waiting_job()
        };
        if job.is_none() {
            // To go on takes events and the interpreter, and neither has to come soon.
            reactor.let_go();
        }
        let may_hold = leads && reactor.may_hold();
        let holds_since_ns = reactor.holds_since_ns();
        // Leadership is worth passing on where somebody could serve what comes in meanwhile.
        let passes_on =
            self.seats.len() > 1 || (reactor.app_is_slow && reactor.acceptor.has_colleagues());
        drop(reactor);
        match job {
            Some(mut connection) => {
                self.station.request_ids.assign(&mut connection);
                let now_ns = self.begin_call(me, &mut connection, leads);
                self.seats[me].let_hold(may_hold.then_some(holds_since_ns.unwrap_or(now_ns)));
                self.have_call_watched();
                if leads && passes_on && now_ns < self.slow_until_ns.load(Relaxed) {
                    self.pass_leadership_on(me);
                }
                Next::Job(connection)
            }
            None => Next::Wait,
        }
    }

    fn leads(&self, seat: usize) -> bool {
        self.leader.load(SeqCst) == active(seat)
    }

    /// Returns when it began.
    fn begin_call(&self, me: usize, connection: &mut Connection, leads: bool) -> u64 {
        let now_ns = sys::monotonic_ns();
        connection.app_began_ns = now_ns;
        let request = connection.request_bytes();
        let head = connection.head();
        if let Some(entry) = self.slot().in_flight.get(me) {
            entry.begin(now_ns, head.method(request), head.target(request));
        }
        if self.station.slow.limit_ns().is_some() {
            self.seats[me].describe(&self.station.request_ids, connection);
        }
        self.seats[me].keep_id(&self.station.request_ids, connection);
        let socket = connection.socket().as_raw_fd();
        self.seats[me].begin(now_ns, socket, connection.is_head());
        let busy = self.busy.fetch_add(1, SeqCst) + 1;
        self.slot().gauges.in_app.store(busy, Relaxed);
        if busy as usize == self.seats.len() {
            self.slot().stalled_since.store(now_ns, Relaxed);
        }
        if leads {
            self.leader.store(in_call(me), SeqCst);
        }
        now_ns
    }

    /// The app is done with a request; its response is sent, held back, or in the connection's output. With the
    /// interpreter held.
    pub fn finish(
        &self,
        me: usize,
        mut connection: Box<Connection>,
        then_close: bool,
        status: u16,
    ) {
        self.seats[me].end();
        let slot = self.slot();
        if let Some(entry) = slot.in_flight.get(me) {
            entry.end();
        }
        let busy = self.busy.fetch_sub(1, SeqCst);
        // The interpreter is held here and in `begin_call`: there is one writer at a time.
        slot.gauges.in_app.store(busy - 1, Relaxed);
        if busy as usize == self.seats.len() {
            slot.stalled_since.store(0, Relaxed);
        }
        self.station.count(status);
        let still_leads = self
            .leader
            .compare_exchange(in_call(me), active(me), SeqCst, SeqCst)
            .is_ok();
        let mut reactor = self.reactor();
        let mut held = self.seats[me].held();
        connection.output.note_sent(held.sent());
        let answered_ns = reactor.count_answered(&mut connection, status);
        let lasted_ns = answered_ns.saturating_sub(connection.app_began_ns);
        let was_slow = lasted_ns > SLOW_CALL_NS;
        let are_slow = self.last_was_slow.swap(was_slow, Relaxed) && was_slow;
        if are_slow || lasted_ns > CLEARLY_SLOW_CALL_NS {
            self.slow_until_ns.store(answered_ns + EAGER_NS, Relaxed);
            // At once: what a worker that calls itself quick takes from the lobby would lose its place in the common order
            // when the next slow call begins.
            reactor.app_is_slow = true;
        }
        if still_leads && !held.rest().is_empty() {
            reactor.hold_back(connection, then_close, held.rest());
        } else {
            connection.output.push_bytes(held.rest());
            reactor.let_go();
            reactor.give_back(connection, then_close);
        }
        held.clear();
        drop(held);
        if !still_leads && self.leader_sleeps_on(&reactor) {
            reactor.wake();
        }
    }

    /// Whether there is something to do for a leader that may be waiting for events, of which none will tell. One request that
    /// waits is for the thread that asks.
    fn leader_sleeps_on(&self, reactor: &Reactor) -> bool {
        let leader = self.leader.load(SeqCst);
        let may_sleep = leader & IN_CALL == 0 && leader != active(self.seats.len());
        reactor.is_drained() || may_sleep && (reactor.needs_turn() || reactor.waiting_jobs() > 1)
    }

    /// A streaming response made progress.
    pub fn note_progress(&self) {
        let slot = self.slot();
        if slot.stalled_since.load(Relaxed) != 0 {
            slot.stalled_since.store(sys::monotonic_ns(), Relaxed);
        }
    }

    /// Waits until there is something to run. Without the interpreter, and not back for less: taking it costs the other
    /// threads.
    pub fn wait(&self, me: usize) {
        if !self.leads(me) {
            self.follow(me);
        }
        while self.leads(me) && !self.leaving.load(SeqCst) && !self.reactor().fetch_job() {
            self.lead();
        }
    }

    /// One turn of the loop: everything that was put off, then the wait for events.
    fn lead(&self) {
        let free = self.seats.len() - self.busy.load(SeqCst) as usize;
        let timeout_ms = {
            let mut reactor = self.reactor();
            reactor.do_cold_work(sys::monotonic_ns());
            self.after_events(&mut reactor);
            if reactor.has_work() || self.leaving.load(SeqCst) {
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

    /// Acts on what the reactor saw beside connections.
    fn after_events(&self, reactor: &mut Reactor) {
        let orders = self.station.attend(reactor);
        self.obey(orders);
    }

    fn obey(&self, orders: Orders) {
        if let Some(grace_ns) = orders.leave_within_ns {
            self.leave_within(grace_ns);
        }
        if orders.leave {
            self.leave();
        }
    }

    /// A thread is lost; the others leave, and the arbiter sees that the worker is gone.
    pub fn abandon(&self) {
        self.obey(Orders::QUIT);
    }

    /// All threads leave as soon as they are out of the app.
    fn leave(&self) {
        self.leaving.store(true, SeqCst);
        for seat in &self.seats {
            seat.wake();
        }
        self.wake_monitor();
    }

    fn leave_within(&self, grace_ns: u64) {
        self.leave_by_ns
            .store(sys::monotonic_ns().saturating_add(grace_ns), SeqCst);
        self.wake_monitor();
    }

    /// Waits as a follower for leadership, or for a request that the monitor read. From the monitor, which leads only while
    /// no thread can, leadership is taken back.
    fn follow(&self, me: usize) {
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
            std::thread::park();
        }
        seat.is_free.store(false, SeqCst);
    }

    /// The leader is in the app: somebody who is free takes over, else the monitor.
    fn pass_leadership_on(&self, from: usize) {
        let heir = self.claim_free_seat().unwrap_or(self.seats.len());
        let passed = self
            .leader
            .compare_exchange(in_call(from), active(heir), SeqCst, SeqCst)
            .is_ok();
        match self.seats.get(heir) {
            Some(seat) if passed => seat.wake(),
            Some(seat) => seat.is_free.store(true, SeqCst),
            None if passed => self.wake_monitor(),
            None => {}
        }
    }

    /// A follower that is promised leadership; nobody else may promise it another.
    fn claim_free_seat(&self) -> Option<usize> {
        self.seats
            .iter()
            .position(|seat| seat.is_free.load(SeqCst) && seat.is_free.swap(false, SeqCst))
    }

    fn wake_monitor(&self) {
        if let Some(thread) = &*self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
        if self.monitor_state.swap(ALARMED, SeqCst) != AWAKE {
            self.alarm.set(Duration::ZERO);
        }
    }

    /// The monitor's thread: watches the calls, and leads while no other thread can.
    pub fn monitor(&self) {
        *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        let (mut calls_seen, mut ended_seen) = (0, 0);
        loop {
            self.watch_calls();
            let ended = self.calls_ended();
            let threads_move_on = std::mem::replace(&mut ended_seen, ended) != ended;
            if self.leads(self.seats.len()) {
                self.lead_while_busy(threads_move_on);
                continue;
            }
            let is_quiet = self.busy.load(SeqCst) == 0;
            let must_leave = self.leave_by_ns.load(SeqCst) != 0;
            if self.leaving.load(SeqCst) && (is_quiet || !must_leave) {
                return;
            }
            // Where calls are rare, looking for them would cost more than they do; where they are many, waking up for each.
            let calls = self.calls_begun();
            let nothing_happens = is_quiet && calls == calls_seen;
            calls_seen = calls;
            if nothing_happens && !must_leave {
                self.sleep_until_a_call();
            } else {
                std::thread::park_timeout(self.look_every());
            }
        }
    }

    /// The calls of all seats so far.
    fn calls_begun(&self) -> u64 {
        self.seats.iter().map(Seat::call).sum()
    }

    /// Of these, those that are over.
    fn calls_ended(&self) -> u64 {
        (self.calls_begun()).saturating_sub(u64::from(self.busy.load(SeqCst)))
    }

    /// The thread that begins the next call sets the alarm.
    fn sleep_until_a_call(&self) {
        self.monitor_state.store(ASLEEP, SeqCst);
        // What came before that was no reason to set the alarm.
        let may_sleep = self.busy.load(SeqCst) == 0
            && !self.leaving.load(SeqCst)
            && self.leave_by_ns.load(SeqCst) == 0;
        if may_sleep {
            self.alarm.sleep();
        }
        self.monitor_state.store(AWAKE, SeqCst);
    }

    /// A call has begun: should it last, the monitor is awake by then.
    fn have_call_watched(&self) {
        let state = &self.monitor_state;
        if state.load(SeqCst) == ASLEEP
            && state
                .compare_exchange(ASLEEP, ALARMED, SeqCst, SeqCst)
                .is_ok()
        {
            self.alarm.set(LOOK_EVERY);
        }
    }

    fn look_every(&self) -> Duration {
        let (now_ns, slow_until_ns) = (sys::monotonic_ns(), self.slow_until_ns.load(Relaxed));
        let is_eager = self.seats.len() > 1
            && now_ns < slow_until_ns
            && self.leader.load(SeqCst) & IN_CALL == 0;
        if is_eager || now_ns > slow_until_ns + QUICK_FOR_NS {
            RELAXED_LOOK_EVERY
        } else {
            LOOK_EVERY
        }
    }

    fn watch_calls(&self) {
        let now_ns = sys::monotonic_ns();
        let leader = self.leader.load(SeqCst);
        if leader & IN_CALL != 0 {
            let seat = (leader >> 1) as usize;
            if self.seats[seat].call_lasts(now_ns, QUICK_CALL_NS_MAX) {
                self.reactor().let_go();
            }
            if self.seats[seat].call_lasts(now_ns, SLOW_CALL_NS) {
                self.pass_leadership_on(seat);
            }
        }
        for seat in &self.seats {
            seat.send_held_if_late(now_ns);
            if seat.call_lasts(now_ns, CLEARLY_SLOW_CALL_NS) {
                self.slow_until_ns.store(now_ns + EAGER_NS, Relaxed);
            }
        }
        let request_timeout_ns = self.station.live.request_timeout_ns();
        if request_timeout_ns > 0 {
            for (index, seat) in self.seats.iter().enumerate() {
                if let Some(call) = seat.time_out(now_ns, request_timeout_ns) {
                    self.interpreter.interrupt(index, call);
                }
            }
        }
        if let Some(limit_ns) = self.station.slow.limit_ns() {
            self.tell_slow_calls(now_ns, limit_ns);
        }
        let leave_by_ns = self.leave_by_ns.load(SeqCst);
        if leave_by_ns != 0 && now_ns >= leave_by_ns {
            self.station.finish_logs();
            sys::exit_now(0);
        }
    }

    fn tell_slow_calls(&self, now_ns: u64, limit_ns: u64) {
        for (index, seat) in self.seats.iter().enumerate() {
            let Some((call, age_ns, what)) = seat.became_slow(now_ns, limit_ns) else {
                continue;
            };
            let slow = &self.station.slow;
            if let Some(headline) = slow.headline(self.slot(), &what, age_ns, now_ns) {
                self.interpreter.show(index, call, headline);
            }
        }
    }

    /// The monitor's turn of the loop, while every thread is in the app. It looks for events now and then and does not wait
    /// for them: nobody could run what they bring.
    fn lead_while_busy(&self, threads_move_on: bool) {
        let is_alone = {
            let mut reactor = self.reactor();
            if !self.leads(self.seats.len()) {
                return;
            }
            reactor.let_go();
            if self.leaving.load(SeqCst) {
                self.leader.store(active(0), SeqCst);
                return;
            }
            // A thread that came back just before the monitor took over.
            if let Some(heir) = self.claim_free_seat() {
                self.leader.store(active(heir), SeqCst);
                self.seats[heir].wake();
                return;
            }
            reactor.do_cold_work(sys::monotonic_ns());
            let is_alone = reactor.watch_if_alone(threads_move_on);
            self.poll(&mut reactor);
            reactor.pump_while_busy();
            self.after_events(&mut reactor);
            is_alone
        };
        self.station.with_logs(0);
        std::thread::park_timeout(match is_alone {
            true => LONELY_LOOK_EVERY,
            false => self.busy_look_every(),
        });
    }

    /// The longer the calls take already, the less it matters to see a moment earlier what came in meanwhile.
    fn busy_look_every(&self) -> Duration {
        let now_ns = sys::monotonic_ns();
        let calls = self.seats.iter().map(|seat| seat.lasted_ns(now_ns));
        let shortest_ns = calls.min().unwrap_or(0);
        Duration::from_nanos(shortest_ns / 4).clamp(BUSY_LOOK_EVERY_MIN, BUSY_LOOK_EVERY_MAX)
    }

    /// Takes the events that are there.
    fn poll(&self, reactor: &mut Reactor) {
        let mut events = [Event::EMPTY; EVENTS_MAX];
        match self.epoll.wait(&mut events, 0) {
            Ok(count) => self.collect(reactor, &events[..count]),
            Err(error) => self.fail(&error),
        }
    }

    fn collect(&self, reactor: &mut Reactor, events: &[Event]) {
        let now_ns = sys::monotonic_ns();
        reactor.collect(events, now_ns);
        reactor.app_is_slow = now_ns < self.slow_until_ns.load(Relaxed);
    }

    fn fail(&self, error: &std::io::Error) {
        crate::critical!("epoll failed: {error}");
        self.abandon();
    }
}

fn active(owner: usize) -> u32 {
    (owner as u32) << 1
}

fn in_call(owner: usize) -> u32 {
    active(owner) | IN_CALL
}
