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

mod limits;
mod pool;

use std::{
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use pyo3::{prelude::*, types::PyCFunction};

use pool::Member;

use crate::{
    config::{Config, LogLevel},
    python::{
        driver::{app_exit, loop_watch},
        exception,
        ffi::GilCell,
        green::{Library, Loop},
        hooks::RequestHooks,
        stacks,
    },
    sys,
    wire::ListenerAddress,
    worker::{Connection, Hub, Leaving},
};

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
        state: GilCell::new(State::default()),
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
    state: GilCell<State>,
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
        let headline = "a worker's hub failed; the worker ends";
        exception::log(py, LogLevel::Critical, headline, error);
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
