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
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, OnceLock},
    time::Duration,
};

use pyo3::{
    intern,
    prelude::*,
    types::{PyCFunction, PyDict, PyTuple},
};

use crate::{
    config::Config,
    python::{
        RequestTimeout,
        app::formatted,
        ffi::HeldCell,
        green::{Library, Loop},
        wsgi::{Desk, Gateway},
    },
    sys,
    wire::ListenerAddress,
    worker::{Connection, Hub, Leaving, Seat},
};

/// The least time between two looks for requests that take too long.
const LOOK_EVERY_NS: u64 = 10_000_000;

/// What a worker of greenlets is made of.
pub(in crate::python) struct Green {
    pub(in crate::python) app: Py<PyAny>,
    pub(in crate::python) hub: Arc<Hub>,
    pub(in crate::python) library: Library,
    pub(in crate::python) config: Config,
    pub(in crate::python) listeners: Vec<ListenerAddress>,
}

/// Serves until the worker ends.
pub(in crate::python) fn run(py: Python<'_>, green: Green) -> PyResult<()> {
    let descriptor = green.hub.descriptor().as_raw_fd();
    let crew = Arc::new(Greenlets {
        event_loop: Loop::of(py, green.library)?,
        context: py.import("contextvars")?.call_method0("copy_context")?.unbind(),
        request_timeout_ns: green.hub.station.request_timeout_ns,
        state: HeldCell::new(State::default()),
        on_turn: OnceLock::new(),
        green,
    });
    let turn = {
        let crew = Arc::clone(&crew);
        PyCFunction::new_closure(py, None, None, move |arguments, _| {
            crew.turn(arguments.py());
        })?
    };
    let _ = crew.on_turn.set(turn.clone().unbind());
    let watcher = crew.event_loop.watch(py, descriptor, &turn)?;
    crew.event_loop.call_after(py, Duration::ZERO, &turn)?;
    crew.green.hub.station.announce();
    let ran = crew.event_loop.switch(py);
    crew.event_loop.unwatch(py, &watcher)?;
    py.detach(|| crew.green.hub.station.finish_logs());
    ran
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
    /// `None`: the greenlet ended.
    members: Vec<Option<Member>>,
    /// Members that wait for a request, the last to finish on top.
    idle: Vec<usize>,
    in_flight: usize,
    /// When the hub makes a turn by itself (CLOCK_MONOTONIC nanoseconds), and the timer.
    alarm: Option<(u64, Py<PyAny>)>,
    /// When to look for requests that take too long.
    look_ns: u64,
    woke_main: bool,
}

struct Greenlets {
    green: Green,
    event_loop: Loop,
    /// What the context of each request is a copy of.
    context: Py<PyAny>,
    request_timeout_ns: u64,
    state: HeldCell<State>,
    on_turn: OnceLock<Py<PyCFunction>>,
}

impl Greenlets {
    /// In the hub's greenlet: takes what has come in and starts the app for it.
    fn turn(self: &Arc<Self>, py: Python<'_>) {
        if let Err(error) = self.try_turn(py) {
            self.give_up(py, &error);
        }
    }

    fn try_turn(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let hub = &self.green.hub;
        match hub.has_cold_work() {
            true => py.detach(|| hub.turn()),
            false => hub.turn(),
        }
        while hub.leaving() == Leaving::No
            && let Some(connection) = hub.next_job()
        {
            self.start(py, connection)?;
        }
        self.interrupt_what_is_overdue(py)?;
        let rest_ms = py.detach(|| hub.rest());
        self.set_alarm(py, rest_ms)?;
        self.leave_if_told(py)
    }

    /// Has an idle greenlet run a request until it waits.
    fn start(self: &Arc<Self>, py: Python<'_>, connection: Box<Connection>) -> PyResult<()> {
        let idle = self.state.borrow(py).idle.pop();
        let index = match idle {
            Some(index) => index,
            None => self.hire(py)?,
        };
        let greenlet = {
            let mut state = self.state.borrow(py);
            let Some(member) = &mut state.members[index] else {
                unreachable!("a member that ends is no longer idle")
            };
            member.job = Some(connection);
            member.greenlet.clone_ref(py)
        };
        greenlet.call_method0(py, intern!(py, "switch")).map(drop)
    }

    /// Makes another greenlet.
    fn hire(self: &Arc<Self>, py: Python<'_>) -> PyResult<usize> {
        let seat = Arc::new(Seat::default());
        let mut state = self.state.borrow(py);
        let vacant = state.members.iter().position(Option::is_none);
        let index = vacant.unwrap_or_else(|| {
            state.members.push(None);
            state.members.len() - 1
        });
        drop(state);
        let this = Arc::clone(self);
        let its_seat = Arc::clone(&seat);
        let run = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            this.live(arguments.py(), index, &its_seat);
        };
        let run = PyCFunction::new_closure(py, None, None, run)?;
        let greenlet = self.event_loop.greenlet(py, &run)?;
        self.state.borrow(py).members[index] = Some(Member {
            greenlet,
            seat,
            job: None,
        });
        Ok(index)
    }

    /// The life of a greenlet. It ends with the worker, or when somebody kills it.
    fn live(self: &Arc<Self>, py: Python<'_>, index: usize, seat: &Arc<Seat>) {
        let lived = self.serve(py, index, seat);
        let mut state = self.state.borrow(py);
        state.idle.retain(|idle| *idle != index);
        let member = state.members[index].take();
        drop(state);
        if let Err(error) = lived
            && member.is_some_and(|member| member.job.is_some())
        {
            self.give_up(py, &error);
        }
    }

    fn serve(self: &Arc<Self>, py: Python<'_>, index: usize, seat: &Arc<Seat>) -> PyResult<()> {
        let hub = &self.green.hub;
        let desk = Desk::Greenlet {
            hub: Arc::clone(hub),
            seat: Arc::clone(seat),
            sleep: self.event_loop.sleep.clone_ref(py),
        };
        let app = self.green.app.clone_ref(py);
        let (config, listeners) = (&self.green.config, &self.green.listeners);
        let mut gateway = Gateway::new(py, app, desk, config, listeners)?;
        let greenlet = match &self.state.borrow(py).members[index] {
            Some(member) => member.greenlet.clone_ref(py),
            None => return Ok(()),
        };
        loop {
            let job = {
                let mut state = self.state.borrow(py);
                let member = state.members[index].as_mut();
                member.and_then(|member| member.job.take())
            };
            let mut next = job;
            while let Some(connection) = next {
                self.give_fresh_context(py, &greenlet)?;
                self.state.borrow(py).in_flight += 1;
                seat.begin(sys::monotonic_ns(), connection.socket().as_raw_fd());
                let served = gateway.serve(py, connection);
                seat.end();
                self.state.borrow(py).in_flight -= 1;
                let served = served?;
                hub.finish(served.connection, served.then_close, served.status);
                next = match hub.leaving() {
                    Leaving::No => hub.next_job(),
                    Leaving::WhenDone | Leaving::Now => None,
                };
            }
            self.state.borrow(py).idle.push(index);
            self.event_loop.switch(py)?;
        }
    }

    fn give_fresh_context(&self, py: Python<'_>, greenlet: &Py<PyAny>) -> PyResult<()> {
        let context = self.context.call_method0(py, intern!(py, "copy"))?;
        greenlet.setattr(py, intern!(py, "gr_context"), context)
    }
}
