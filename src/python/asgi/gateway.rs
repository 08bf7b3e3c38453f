//! Between the loop and the reactor. The loop has a [`turn`] made when there is something to do; a turn starts a task for each
//! request that came in ([`begin`]), tells those that are [`suspended`] what happened to their connections, and looks at
//! their deadlines. Here is what all of them share.

mod begin;
mod suspended;
mod turn;

use std::{sync::Arc, time::Duration};

use pyo3::{
    call::PyCallArgs,
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use self::suspended::Suspended;
use super::{
    awaitable::Done, first_step::FirstSteps, outcome::Outcome, request_objects::RequestObjects,
    scope::ScopeBuilder,
};
use crate::{
    config::LogLevel,
    http::{RequestTraits, ResponseShape},
    python::{date::CachedDate, exception, ffi::GilCell, hooks::RequestHooks},
    sys::Readiness,
    websocket::{self, DeflateSettings},
    worker::{Hub, Leaving, websocket_grace},
};

/// Clients that have not answered its goodbye after as long again, and after this long at the latest, are dropped.
const SOCKET_GOODBYE_MAX: Duration = Duration::from_secs(2);

pub(super) struct Gateway {
    pub(super) hub: Arc<Hub>,
    app: Py<PyAny>,
    pub(super) hooks: Option<Arc<RequestHooks>>,
    /// What of the loop is called.
    asyncio_loop: Py<PyAny>,
    stop: Py<PyAny>,
    create_future: Py<PyAny>,
    get_task_factory: Py<PyAny>,
    task_type: Py<PyAny>,
    task_options: Py<PyDict>,
    /// As the worker's loop began. What the loop is to call for the server is called in copies of it: a turn that a request's code
    /// asked for would else be made in that request's context, and what it begins would see its variables.
    context: Py<PyAny>,
    first_steps: Option<Py<FirstSteps>>,
    done: Py<PyAny>,
    pub(super) socket_settings: websocket::Settings,
    socket_compression: Option<DeflateSettings>,
    inner: GilCell<Inner>,
}

struct Inner {
    scopes: ScopeBuilder,
    date: CachedDate,
    suspended: Suspended,
    reports: Vec<(u64, Readiness)>,
    /// To be used again.
    spare: Option<RequestObjects>,
    /// What WebSockets receive into.
    scratch: Vec<u8>,
    next_sweep_ms: u64,
    /// The loop's timer for the next turn, and when it is due.
    timer: Option<(Py<PyAny>, u64)>,
    /// A turn is going on, or one is in the loop's queue already.
    is_turning: bool,
    turn: Option<Py<PyAny>>,
    /// The app has its own way to make tasks; asked once a turn.
    has_task_factory: bool,
    /// [`Gateway::stop`]
    has_ended: bool,
}

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
    /// Has the loop end.
    pub(super) stop: Py<PyAny>,
    pub(super) app: Py<PyAny>,
    pub(super) hooks: Option<Arc<RequestHooks>>,
    pub(super) scopes: ScopeBuilder,
    /// `None`: a request has its task from the beginning.
    pub(super) first_steps: Option<Py<FirstSteps>>,
    pub(super) socket_settings: websocket::Settings,
    /// `None`: messages are not compressed.
    pub(super) socket_compression: Option<DeflateSettings>,
}

impl Gateway {
    pub(super) fn new(
        py: Python<'_>,
        asyncio_loop: &Bound<'_, PyAny>,
        parts: Parts,
    ) -> PyResult<Arc<Self>> {
        let task_type = py.import("asyncio")?.getattr("Task")?;
        let context = py.import("contextvars")?.call_method0("copy_context")?;
        let options = PyDict::new(py);
        options.set_item("loop", asyncio_loop)?;
        if py.version_info() >= (3, 12) {
            options.set_item("eager_start", true)?;
        }
        Ok(Arc::new(Self {
            hub: parts.hub,
            app: parts.app,
            hooks: parts.hooks,
            asyncio_loop: asyncio_loop.clone().unbind(),
            stop: parts.stop,
            create_future: asyncio_loop.getattr("create_future")?.unbind(),
            get_task_factory: asyncio_loop.getattr("get_task_factory")?.unbind(),
            task_type: task_type.unbind(),
            task_options: options.unbind(),
            context: context.unbind(),
            first_steps: parts.first_steps,
            done: Bound::new(py, Done)?.into_any().unbind(),
            socket_settings: parts.socket_settings,
            socket_compression: parts.socket_compression,
            inner: GilCell::new(Inner {
                scopes: parts.scopes,
                date: CachedDate::default(),
                suspended: Suspended::default(),
                reports: Vec::new(),
                spare: None,
                scratch: Vec::new(),
                next_sweep_ms: 0,
                timer: None,
                is_turning: false,
                turn: None,
                has_task_factory: false,
                has_ended: false,
            }),
        }))
    }

    /// Whether an app ended because the worker did.
    pub(super) fn was_cut_off(&self, py: Python<'_>, error: &PyErr) -> bool {
        let cancelled = || py.import("asyncio")?.getattr("CancelledError");
        let has_ended = self.inner.borrow(py).has_ended;
        has_ended && cancelled().is_ok_and(|cancelled| error.is_instance(py, &cancelled))
    }

    pub(super) fn body_ms(&self) -> u64 {
        self.hub.station.live.body_ms()
    }

    pub(super) fn write_ms(&self) -> u64 {
        self.hub.station.live.write_ms()
    }

    pub(super) fn done(&self, py: Python<'_>) -> Py<PyAny> {
        self.done.clone_ref(py)
    }

    pub(super) fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.create_future.bind(py).call0()
    }

    pub(super) fn call_later(
        &self,
        py: Python<'_>,
        seconds: f64,
        callback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.schedule(py, intern!(py, "call_later"), (seconds, callback))
            .map(drop)
    }

    fn fresh_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let context = self.context.bind(py);
        context.call_method0(intern!(py, "copy"))
    }

    /// Has the loop call something of the server's, outside the context of whose code runs now.
    fn schedule<'py>(
        &self,
        py: Python<'py>,
        how: &Bound<'py, PyString>,
        what: impl PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), self.fresh_context(py)?)?;
        let asyncio_loop = self.asyncio_loop.bind(py);
        asyncio_loop.call_method(how, what, Some(&options))
    }

    pub(super) fn complete_head(
        &self,
        py: Python<'_>,
        outcome: &mut Outcome,
        request: RequestTraits,
        body_length: Option<u64>,
    ) -> ResponseShape {
        outcome.complete_head(request, body_length, &mut self.inner.borrow(py).date)
    }

    /// Writes an exception of the app to the error log.
    pub(super) fn report(&self, py: Python<'_>, error: &PyErr, headline: &str) {
        exception::log(py, LogLevel::Error, headline, error);
    }

    /// A response is over; its connection is the reactor's again. `token`: events of it went to an exchange.
    pub(super) fn on_finished(&self, py: Python<'_>, token: Option<u64>) -> PyResult<()> {
        let mut inner = self.inner.borrow(py);
        if let Some(token) = token {
            inner.suspended.forget_token(token);
        }
        if inner.is_turning {
            return Ok(());
        }
        let reactor = self.hub.reactor();
        let has_more = reactor.has_work() || reactor.waiting_jobs() > 0;
        let is_due = has_more || reactor.needs_turn() || reactor.is_draining();
        drop(reactor);
        drop(inner);
        match is_due {
            true => self.turn_soon(py),
            false => Ok(()),
        }
    }

    /// Has a connection reported as readable in the next turn: there is more of it, of which no event will tell.
    pub(super) fn look_again(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        self.hub.reactor().look_again(token);
        let is_turning = self.inner.borrow(py).is_turning;
        match is_turning {
            // Its end sees that there is to be another.
            true => Ok(()),
            false => self.turn_soon(py),
        }
    }

    /// Whether the worker leaves and its WebSockets have had their time.
    pub(super) fn must_close_sockets(&self, now_ns: u64) -> bool {
        let grace = websocket_grace(self.hub.station.live.graceful());
        self.hub
            .draining_for_ns(now_ns)
            .is_some_and(|ns| u128::from(ns) >= grace.as_nanos())
    }

    /// Whether they have had their time to answer the goodbye, too.
    pub(super) fn must_drop_sockets(&self, now_ns: u64) -> bool {
        let graceful = self.hub.station.live.graceful();
        let most = websocket_grace(graceful) + (graceful / 4).min(SOCKET_GOODBYE_MAX);
        self.hub
            .draining_for_ns(now_ns)
            .is_some_and(|ns| u128::from(ns) >= most.as_nanos())
    }

    /// Whether a request that began then has had `timeouts.request`.
    pub(super) fn is_past_request_timeout(&self, began_ns: u64, now_ns: u64) -> bool {
        let limit_ns = self.hub.station.live.request_timeout_ns();
        limit_ns > 0 && now_ns.saturating_sub(began_ns) > limit_ns
    }

    /// Room to receive into; to be given back.
    pub(super) fn take_scratch(&self, py: Python<'_>) -> Vec<u8> {
        std::mem::take(&mut self.inner.borrow(py).scratch)
    }

    pub(super) fn put_scratch(&self, py: Python<'_>, scratch: Vec<u8>) {
        self.inner.borrow(py).scratch = scratch;
    }

    /// The app of an exchange has ended.
    pub(super) fn forget(&self, py: Python<'_>, place: Option<usize>, token: Option<u64>) {
        let mut inner = self.inner.borrow(py);
        if let Some(token) = token.filter(|_| place.is_some()) {
            inner.suspended.forget_token(token);
        }
        let forgotten = place.and_then(|place| inner.suspended.take(place));
        let must_turn = !inner.is_turning && self.hub.leaving() != Leaving::No;
        drop(inner);
        drop(forgotten);
        if must_turn && let Err(error) = self.turn_soon(py) {
            error.write_unraisable(py, None);
        }
    }

    /// Those of apps that have not returned yet.
    pub(super) fn tasks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let parties = self.inner.borrow(py).suspended.all(py);
        parties.iter().filter_map(|party| party.task(py)).collect()
    }

    /// The apps that have not returned yet.
    pub(super) fn running(&self, py: Python<'_>) -> usize {
        self.inner.borrow(py).suspended.count()
    }
}
