//! The threads of a worker: one leads the reactor and calls the app on the spot, the others follow.
//!
//! The leader receives, calls the app and sends, with no queue and no other thread in between: that is all there is to a
//! fast app. A monitor looks at the leader each millisecond while calls come, or each five where that is soon enough. When an
//! app call lasts, leadership passes to a thread that is free; when none is, the monitor leads itself: it goes on receiving,
//! sending and keeping deadlines, and gives what it can to workers that are free, but never calls the app. For a while after
//! a slow call the leader passes leadership on before it calls the app, so that nothing waits for the monitor's next look.
//!
//! Locks are taken in one order: the interpreter first, then the reactor; nobody waits for the interpreter with the reactor
//! locked.

mod leadership;
mod monitor;

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::Thread,
};

use leadership::{active, in_call};
use monitor::AWAKE;

use super::{
    connection::Connection,
    reactor::Reactor,
    seat::Seat,
    station::{Equipment, Station, WorkerOrders},
};
use crate::{
    sys::{self, Alarm, Epoll, Event},
    wire::Slot,
};

/// An app call that lasts longer than this passes leadership on, and is slow if it is not the only one: it may have been a
/// quick call whose thread had to wait for a processor.
const SLOW_CALL_NS: u64 = 1_000_000;
/// No thread that can run waits for so long, but where a machine has far too much to do.
const CLEARLY_SLOW_CALL_NS: u64 = 10_000_000;
/// After a slow call, leadership is passed on before each call for this long.
const EAGER_NS: u64 = 50_000_000;

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
    /// Who leads, in the words of [`leadership`].
    leader: AtomicU32,
    /// Seats that are in the app.
    busy: AtomicU32,
    /// Of these, those whose app has taken the socket.
    taken: AtomicU32,
    /// The app was slow not long ago, until this moment.
    slow_until_ns: AtomicU64,
    /// The last call that ended was slow.
    last_was_slow: AtomicBool,
    monitor: Mutex<Option<Thread>>,
    /// How it can be woken, in the words of [`monitor`].
    monitor_state: AtomicU32,
    /// The monitor's.
    alarm: Alarm,
    /// All threads leave.
    leaving: AtomicBool,
    /// When the process ends whatever its threads do; 0: never.
    leave_by_ns: AtomicU64,
    interpreter: Box<dyn Interpreter>,
    wakeups: Option<Wakeups>,
    pub station: Station,
}

/// By which the interpreter asks for its main thread.
struct Wakeups {
    /// Readable since the interpreter asked.
    descriptor: OwnedFd,
    /// The thread of seat 0 is still to be sent back to it.
    are_due: AtomicBool,
}

impl Crew {
    /// A crew with so many seats; seat 0, the main thread's, leads first. When `wakeups` is readable, that thread is wanted by the
    /// interpreter: [`Crew::take_wakeup`].
    pub fn new(
        reactor: Reactor,
        seats: usize,
        equipment: Equipment,
        interpreter: Box<dyn Interpreter>,
        wakeups: Option<OwnedFd>,
    ) -> std::io::Result<Self> {
        if let Some(wakeups) = &wakeups {
            reactor.watch_wakeups(wakeups.as_fd())?;
        }
        let station = Station::new(equipment, &reactor)?;
        station.slot().gauges.threads.store(seats as u32, Relaxed);
        Ok(Self {
            epoll: reactor.epoll(),
            seats: (0..seats).map(|_| Seat::default()).collect(),
            leader: AtomicU32::new(active(0)),
            busy: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            slow_until_ns: AtomicU64::new(0),
            last_was_slow: AtomicBool::new(false),
            monitor: Mutex::new(None),
            monitor_state: AtomicU32::new(AWAKE),
            alarm: Alarm::create()?,
            leaving: AtomicBool::new(false),
            leave_by_ns: AtomicU64::new(0),
            interpreter,
            wakeups: wakeups.map(|descriptor| Wakeups {
                descriptor,
                are_due: AtomicBool::new(false),
            }),
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
        // Of one with an open WebSocket nobody can say that it stands still.
        if busy as usize == self.seats.len() && self.taken.load(SeqCst) == 0 {
            self.slot().stalled_since.store(now_ns, Relaxed);
        }
        if leads {
            self.leader.store(in_call(me), SeqCst);
        }
        now_ns
    }

    /// The app takes the socket of the call of a seat, and may keep it for as long as it likes. False: the request has been
    /// answered in its place. With the interpreter held.
    pub fn let_take(&self, seat: usize, connection: &mut Connection) -> bool {
        if !self.seats[seat].lose_call() {
            return false;
        }
        self.taken.fetch_add(1, SeqCst);
        self.slot().stalled_since.store(0, Relaxed);
        let mut reactor = self.reactor();
        reactor.let_go();
        reactor.let_take(connection);
        self.station.count_opened();
        drop(reactor);
        // Nobody looks at how long this call lasts any more.
        if self.leader.load(SeqCst) == in_call(seat) {
            self.pass_leadership_on(seat);
        }
        true
    }

    /// Whether a call of the app is in progress that may be too slow.
    fn has_calls_to_watch(&self) -> bool {
        self.busy.load(SeqCst) > self.taken.load(SeqCst)
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
        if connection.is_taken {
            // Before the other count: a call beside it is one to watch.
            self.taken.fetch_sub(1, SeqCst);
            self.station.count_closed();
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
        let lasted_ns = match connection.is_taken {
            // However long that was, the app may be a quick one.
            true => 0,
            false => answered_ns.saturating_sub(connection.app_began_ns),
        };
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
        while self.leads(me)
            && !self.leaving.load(SeqCst)
            && !self.is_wanted(me)
            && !self.reactor().fetch_job()
        {
            self.lead();
        }
    }

    /// Whether the interpreter wants the thread of this seat.
    fn is_wanted(&self, me: usize) -> bool {
        let wakeups = self.wakeups.as_ref().filter(|_| me == 0);
        wakeups.is_some_and(|wakeups| wakeups.are_due.load(SeqCst))
    }

    /// Whether the interpreter wants the thread of this seat, which gives in: told once.
    pub fn take_wakeup(&self, me: usize) -> bool {
        let wakeups = self.wakeups.as_ref().filter(|_| self.is_wanted(me));
        wakeups.is_some_and(|wakeups| wakeups.are_due.swap(false, SeqCst))
    }

    /// Has the thread of seat 0 come back to the interpreter, from wherever it waits.
    fn pass_wakeup_on(&self) {
        if let Some(wakeups) = &self.wakeups {
            let mut numbers = [0; 64];
            while nix::unistd::read(&wakeups.descriptor, &mut numbers).is_ok_and(|count| count > 0)
            {
            }
            wakeups.are_due.store(true, SeqCst);
            self.seats[0].wake();
        }
    }

    /// The app wants the worker to end: it leaves in order.
    pub fn drain(&self) {
        let mut reactor = self.reactor();
        self.station.drain_unasked(&mut reactor);
        reactor.wake();
    }

    /// Acts on what the reactor saw beside connections.
    fn after_events(&self, reactor: &mut Reactor) {
        if std::mem::take(&mut reactor.calls.wakeups) {
            self.pass_wakeup_on();
        }
        let orders = self.station.attend(reactor);
        self.obey(orders);
    }

    fn obey(&self, orders: WorkerOrders) {
        if let Some(grace_ns) = orders.leave_within_ns {
            self.leave_within(grace_ns);
        }
        if orders.leave {
            self.leave();
        }
    }

    /// A thread is lost; the others leave, and the arbiter sees that the worker is gone.
    pub fn abandon(&self) {
        self.obey(WorkerOrders::QUIT);
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
