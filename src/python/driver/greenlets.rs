//! The worker in the hub of gevent or eventlet: one thread, and a greenlet for each request that is with the app.
//!
//! The hub watches the reactor's descriptor; its callback makes a turn and switches to a greenlet for each request. The
//! greenlet comes back when the app waits for something or is done. Greenlets are used again, the last one first: a fast
//! app is served by one, which goes from request to request without a switch; making a new one costs more than a request.
//!
//! A greenlet has a gateway of its own, since others run while it is in the app, and gets a fresh context
//! (`contextvars`) with each request. What the app keeps in `threading.local` stays with the greenlet, as it stays with
//! the thread of a `gthread` worker.
//!
//! Nothing borrowed and no lock is held where Python code runs: every switch is an interleaving.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use pyo3::{intern, prelude::*, types::PyCFunction};

use crate::{
    config::{Config, LogLevel},
    python::{
        RequestTimeout,
        app::formatted,
        driver::{app_exit, loop_watch},
        ffi::HeldCell,
        green::{Library, Loop},
        hooks::RequestHooks,
        stacks,
        wsgi::{Desk, Gateway},
    },
    sys,
    telemetry::block,
    wire::ListenerAddress,
    worker::{Connection, Hub, Leaving, Seat},
};

/// The least time between two looks for requests that take too long.
const LOOK_EVERY_NS: u64 = 10_000_000;

/// Between two looks for greenlets that were not needed.
const TRIM_EVERY_NS: u64 = 5_000_000_000;
/// So many are kept in any case.
const IDLE_MIN: usize = 4;

/// What a worker of greenlets is made of.
pub(in crate::python) struct Green {
    pub(in crate::python) app: Py<PyAny>,
    pub(in crate::python) hooks: Option<Arc<RequestHooks>>,
    pub(in crate::python) hub: Arc<Hub>,
    pub(in crate::python) library: Library,
    pub(in crate::python) config: Arc<Config>,
    pub(in crate::python) listeners: Vec<ListenerAddress>,
}

/// Serves until the worker ends.
pub(in crate::python) fn run(py: Python<'_>, green: Green) -> PyResult<()> {
    let hub = Arc::clone(&green.hub);
    let greenlets = Arc::new(Greenlets {
        event_loop: Loop::of(py, green.library)?,
        context: py
            .import("contextvars")?
            .call_method0("copy_context")?
            .unbind(),
        state: HeldCell::new(State::default()),
        green,
    });
    let this = Arc::clone(&greenlets);
    let on_events = PyCFunction::new_closure(py, None, None, move |arguments, _| {
        this.turn(arguments.py());
    })?;
    let event_loop = &greenlets.event_loop;
    let watcher = event_loop.watch(py, hub.descriptor().as_raw_fd(), &on_events)?;
    greenlets.set_alarm(py, 0)?;
    stacks::announce_loop();
    hub.station.announce(&mut hub.reactor());
    while let Err(error) = event_loop.switch(py) {
        app_exit::drain_after(py, &hub.station, || hub.drain(), error)?;
    }
    event_loop.unwatch(py, &watcher)?;
    // What the app registered for its end has a limit of its own.
    hub.station.slot().stalled_since.store(0, SeqCst);
    py.detach(|| hub.station.finish_logs());
    Ok(())
}

/// A greenlet and what it works on.
struct Member {
    greenlet: Py<PyAny>,
    seat: Arc<Seat>,
    /// The request to begin with at the next switch.
    job: Option<Box<Connection>>,
}

#[derive(Default)]
struct State {
    /// `None`: the greenlet has ended.
    members: Vec<Option<Member>>,
    /// Members that wait for a request, the last to finish on top.
    idle: Vec<usize>,
    /// How many, from the bottom, were idle ever since the last trim, and when the next one is.
    unused: usize,
    trim_ns: u64,
    /// Requests that are with the app.
    in_flight: usize,
    /// The hub is in a turn, which it ends by looking at everything.
    is_turning: bool,
    /// When the hub makes a turn by itself.
    alarm: Option<Alarm>,
    /// When to look again for requests that take too long, and by which limit that was reckoned.
    look_ns: u64,
    limits_ns: [u64; 2],
    main_is_woken: bool,
}

struct Alarm {
    /// CLOCK_MONOTONIC nanoseconds.
    due_ns: u64,
    timer: Py<PyAny>,
}

struct Greenlets {
    green: Green,
    event_loop: Loop,
    /// The context of each request is a copy of it.
    context: Py<PyAny>,
    state: HeldCell<State>,
}

impl Greenlets {
    /// In the hub: takes what has come in and starts the app for it.
    fn turn(self: &Arc<Self>, py: Python<'_>) {
        // A process that the app forked has a hub, too, for what it does itself.
        if sys::is_copy() {
            return;
        }
        if let Err(error) = self.try_turn(py) {
            self.give_up(py, &error);
        }
    }

    fn try_turn(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let hub = &self.green.hub;
        self.state.borrow(py).is_turning = true;
        if hub.has_cold_work() {
            py.detach(|| hub.turn());
        } else {
            hub.turn();
        }
        while let Some(connection) = self.next_job() {
            self.start(py, connection)?;
        }
        self.look_at_calls(py)?;
        self.trim(py)?;
        stacks::add_greenlets(py);
        loop_watch::start_when_wanted(hub);
        let rest_ms = py.detach(|| hub.rest());
        let mut state = self.state.borrow(py);
        state.is_turning = false;
        let is_done = state.in_flight == 0;
        drop(state);
        match hub.leaving() {
            Leaving::Now | Leaving::WhenDone if is_done || hub.grace_is_over() => self.leave(py),
            Leaving::Now | Leaving::WhenDone | Leaving::No => self.set_alarm(py, rest_ms),
        }
    }

    fn next_job(&self) -> Option<Box<Connection>> {
        match self.green.hub.leaving() {
            Leaving::No => self.green.hub.next_job(),
            Leaving::WhenDone | Leaving::Now => None,
        }
    }

    /// Has an idle greenlet begin with a request; returns when the app waits for something, or is done.
    fn start(self: &Arc<Self>, py: Python<'_>, connection: Box<Connection>) -> PyResult<()> {
        let mut state = self.state.borrow(py);
        let idle = state.idle.pop();
        state.unused = state.unused.min(state.idle.len());
        drop(state);
        let index = match idle {
            Some(index) => index,
            None => self.hire(py)?,
        };
        let mut state = self.state.borrow(py);
        state.in_flight += 1;
        let Some(member) = &mut state.members[index] else {
            unreachable!("who has ended is not idle")
        };
        member.job = Some(connection);
        let greenlet = member.greenlet.clone_ref(py);
        drop(state);
        greenlet.call_method0(py, intern!(py, "switch")).map(drop)
    }

    /// Ends the greenlets that had nothing to do since the last time: they would else keep what a burst of requests took, 40 KiB for each.
    fn trim(&self, py: Python<'_>) -> PyResult<()> {
        let now_ns = sys::monotonic_ns();
        let mut state = self.state.borrow(py);
        if now_ns < state.trim_ns {
            return Ok(());
        }
        let count = state.unused.min(state.idle.len().saturating_sub(IDLE_MIN));
        let unneeded: Vec<_> = state.idle.drain(..count).collect();
        state.unused = state.idle.len();
        state.trim_ns = now_ns + TRIM_EVERY_NS;
        let members = unneeded
            .iter()
            .filter_map(|index| state.members[*index].as_ref());
        let greenlets: Vec<_> = members.map(|it| it.greenlet.clone_ref(py)).collect();
        drop(state);
        for greenlet in greenlets {
            // It finds that it is not idle and has no request, and ends.
            greenlet.call_method0(py, intern!(py, "switch"))?;
        }
        Ok(())
    }

    /// Makes another greenlet.
    fn hire(self: &Arc<Self>, py: Python<'_>) -> PyResult<usize> {
        let mut state = self.state.borrow(py);
        let vacant = state.members.iter().position(Option::is_none);
        let index = vacant.unwrap_or(state.members.len());
        if vacant.is_none() {
            state.members.push(None);
        }
        drop(state);
        let this = Arc::clone(self);
        let life = PyCFunction::new_closure(py, None, None, move |arguments, _| {
            this.live(arguments.py(), index);
        })?;
        let member = Member {
            greenlet: self.event_loop.greenlet(py, &life)?,
            seat: Arc::default(),
            job: None,
        };
        self.state.borrow(py).members[index] = Some(member);
        Ok(index)
    }

    /// The life of a greenlet. It ends with the worker, when it is not needed, or when somebody kills it while it is idle.
    fn live(self: &Arc<Self>, py: Python<'_>, index: usize) {
        let lived = self.serve(py, index);
        let mut state = self.state.borrow(py);
        state.idle.retain(|idle| *idle != index);
        let member = state.members[index].take();
        drop(state);
        drop(member);
        if let Err(error) = lived {
            self.give_up(py, &error);
        }
    }

    /// Serves requests until the greenlet is killed. An error: the server's own objects could not be made.
    fn serve(&self, py: Python<'_>, index: usize) -> PyResult<()> {
        let Some((greenlet, seat)) = self.myself(py, index) else {
            return Ok(());
        };
        let mut gateway = self.gateway(py, &seat)?;
        loop {
            let mut job = self.take_job(py, index);
            if job.is_none() {
                if !self.state.borrow(py).idle.contains(&index) {
                    return Ok(());
                }
                // Not the hub but somebody who kept this greenlet has switched here: it waits on, in its place.
                if self.event_loop.switch(py).is_err() {
                    return Ok(());
                }
                continue;
            }
            while let Some(connection) = job {
                let context = self.context.call_method0(py, intern!(py, "copy"))?;
                greenlet.setattr(py, intern!(py, "gr_context"), context)?;
                let hub = &self.green.hub;
                if hub.station.slow.limit_ns().is_some() {
                    seat.describe(&hub.station.request_ids, &connection);
                }
                seat.keep_id(&hub.station.request_ids, &connection);
                let socket = connection.socket().as_raw_fd();
                seat.begin(sys::monotonic_ns(), socket, connection.is_head());
                let served = gateway.serve(py, connection)?;
                seat.end();
                hub.finish(served.connection, served.then_close, served.status);
                job = self.next_job();
            }
            let mut state = self.state.borrow(py);
            state.in_flight -= 1;
            state.idle.push(index);
            let is_turning = state.is_turning;
            drop(state);
            if !is_turning {
                self.green.hub.ask_for_turn();
            }
            if self.event_loop.switch(py).is_err() {
                return Ok(());
            }
        }
    }

    fn myself(&self, py: Python<'_>, index: usize) -> Option<(Py<PyAny>, Arc<Seat>)> {
        let state = self.state.borrow(py);
        let member = state.members[index].as_ref()?;
        Some((member.greenlet.clone_ref(py), Arc::clone(&member.seat)))
    }

    fn take_job(&self, py: Python<'_>, index: usize) -> Option<Box<Connection>> {
        self.state.borrow(py).members[index].as_mut()?.job.take()
    }

    fn gateway(&self, py: Python<'_>, seat: &Arc<Seat>) -> PyResult<Gateway> {
        let desk = Desk::Greenlet {
            hub: Arc::clone(&self.green.hub),
            seat: Arc::clone(seat),
            sleep: self.event_loop.sleep.clone_ref(py),
        };
        let app = self.green.app.clone_ref(py);
        let hooks = self.green.hooks.clone();
        Gateway::new(
            py,
            app,
            hooks,
            desk,
            &self.green.config,
            &self.green.listeners,
        )
    }

    /// After how long a request is interrupted, and told to be slow; zero: never.
    fn limits_ns(&self) -> [u64; 2] {
        let station = &self.green.hub.station;
        let slow_ns = station.slow.limit_ns().unwrap_or(0);
        [station.live.request_timeout_ns(), slow_ns]
    }

    /// Looks at the time limits of the requests that are with the app.
    fn look_at_calls(&self, py: Python<'_>) -> PyResult<()> {
        let limits_ns = self.limits_ns();
        let now_ns = sys::monotonic_ns();
        let mut state = self.state.borrow(py);
        let is_as_before = std::mem::replace(&mut state.limits_ns, limits_ns) == limits_ns;
        let limits_ns = || limits_ns.into_iter().filter(|limit_ns| *limit_ns > 0);
        let Some(shortest_ns) = limits_ns().min() else {
            return Ok(());
        };
        if is_as_before && now_ns < state.look_ns {
            return Ok(());
        }
        let seats = state.members.iter().flatten().map(|member| &member.seat);
        let due_ns = seats
            .flat_map(|seat| limits_ns().filter_map(|limit_ns| seat.due_ns(limit_ns)))
            .filter(|due_ns| *due_ns > now_ns);
        let look_ns = due_ns.fold(now_ns + shortest_ns, u64::min);
        state.look_ns = look_ns.max(now_ns + LOOK_EVERY_NS);
        drop(state);
        self.tell_the_slow(py, now_ns)?;
        self.interrupt_the_overdue(py, now_ns)
    }

    /// Tells, once for each, of requests that have been with the app for long: where their greenlet waits.
    fn tell_the_slow(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        let station = &self.green.hub.station;
        let Some(limit_ns) = station.slow.limit_ns() else {
            return Ok(());
        };
        let state = self.state.borrow(py);
        let members = state.members.iter().flatten();
        let slow: Vec<_> = members
            .filter_map(|member| {
                let (_, age_ns, what) = member.seat.became_slow(now_ns, limit_ns)?;
                Some((member.greenlet.clone_ref(py), age_ns, what))
            })
            .collect();
        drop(state);
        for (greenlet, age_ns, what) in slow {
            let slot = station.slot();
            if let Some(headline) = station.slow.headline(slot, &what, age_ns, now_ns) {
                let stack = stacks::of_greenlet(greenlet.bind(py));
                py.detach(|| block(LogLevel::Warning, format_args!("{headline}"), &stack));
            }
        }
        Ok(())
    }

    /// Raises an exception in greenlets whose request takes longer than `timeouts.request`.
    fn interrupt_the_overdue(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        let limit_ns = self.green.hub.station.live.request_timeout_ns();
        if limit_ns == 0 {
            return Ok(());
        }
        let state = self.state.borrow(py);
        let members = state.members.iter().flatten();
        let overdue: Vec<_> = members
            .filter_map(|member| {
                let call = member.seat.time_out(now_ns, limit_ns)?;
                Some((
                    member.greenlet.clone_ref(py),
                    Arc::clone(&member.seat),
                    call,
                ))
            })
            .collect();
        drop(state);
        for (greenlet, seat, call) in overdue {
            // What the one before does in its last breath may have ended the next.
            if seat.is_in_call(call) {
                greenlet.call_method1(py, "throw", (py.get_type::<RequestTimeout>(),))?;
            }
        }
        Ok(())
    }

    /// Sees to it that there is a turn after so many milliseconds, if not before.
    fn set_alarm(self: &Arc<Self>, py: Python<'_>, rest_ms: u64) -> PyResult<()> {
        let now_ns = sys::monotonic_ns();
        let mut state = self.state.borrow(py);
        let mut due_ns = now_ns + rest_ms * 1_000_000;
        if state.limits_ns != [0; 2] {
            due_ns = due_ns.min(state.look_ns);
        }
        if matches!(&state.alarm, Some(alarm) if alarm.due_ns <= due_ns) {
            return Ok(());
        }
        let before = state.alarm.take();
        drop(state);
        if let Some(alarm) = before {
            self.event_loop.cancel(py, &alarm.timer)?;
        }
        let delay = Duration::from_nanos(due_ns.saturating_sub(now_ns));
        let this = Arc::clone(self);
        let on_alarm = PyCFunction::new_closure(py, None, None, move |arguments, _| {
            let py = arguments.py();
            this.state.borrow(py).alarm = None;
            this.turn(py);
        })?;
        let timer = self.event_loop.call_after(py, delay, &on_alarm)?;
        self.state.borrow(py).alarm = Some(Alarm { due_ns, timer });
        Ok(())
    }

    /// The worker cannot go on; another takes its place.
    fn give_up(&self, py: Python<'_>, error: &PyErr) {
        let traceback = formatted(py, error).unwrap_or_else(|_| error.to_string());
        py.detach(|| {
            let headline = format_args!("a worker's hub failed; the worker ends");
            block(LogLevel::Critical, headline, &traceback);
        });
        self.green.hub.abandon();
        if let Err(error) = self.leave(py) {
            py.detach(|| crate::critical!("a worker's hub does not end: {error}"));
            sys::exit_now(1);
        }
    }

    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        if std::mem::replace(&mut self.state.borrow(py).main_is_woken, true) {
            return Ok(());
        }
        self.event_loop.wake_main(py)
    }
}
