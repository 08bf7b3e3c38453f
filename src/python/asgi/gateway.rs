//! Between the loop and the reactor. The loop calls [`Turn`] when the reactor's descriptor is readable and when time is
//! up; a turn starts a task for each request that came in, tells exchanges what happened to their connections, and looks
//! at their deadlines.
//!
//! Where Python can (3.12), a task starts at once and most apps are done before it is ever scheduled; for 3.11 see
//! `first_step`. The ones that are not are kept here: asyncio itself holds tasks by weak references only.

use std::{ffi::CStr, sync::Arc, time::Duration};

use pyo3::{
    call::PyCallArgs,
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use super::{
    awaitable::Done,
    exchange::Exchange,
    first_step::FirstSteps,
    frames::{ReceiveFrame, SendFrame},
    outcome::Outcome,
    party::Party,
    request_objects::RequestObjects,
    run::Run,
    scope::ScopeBuilder,
    socket::Socket,
};
use crate::{
    http::{Refusal, RequestTraits, ResponseShape},
    python::{
        app::formatted,
        copy,
        date::CachedDate,
        driver::loop_watch,
        ffi::{self, Behaviour, Builtin, HeldCell},
        hooks::RequestHooks,
        stacks,
    },
    sys::{self, Readiness},
    websocket::{self, DeflateSettings, Opening},
    worker::{Connection, Hub, Leaving},
};

/// How often the deadlines of exchanges are looked at, at the least, milliseconds.
const SWEEP_MS_MAX: u64 = 1_000;
/// And at the most.
const SWEEP_MS_MIN: u64 = 10;

/// A worker that leaves closes its WebSockets after a quarter of `timeouts.graceful`, and after this long at the latest.
const SOCKET_GRACE_MAX: Duration = Duration::from_secs(5);
/// Clients that have not answered its goodbye after as long again, and after this long at the latest, are dropped.
const SOCKET_GOODBYE_MAX: Duration = Duration::from_secs(2);

pub(super) struct Gateway {
    pub(super) hub: Arc<Hub>,
    app: Py<PyAny>,
    pub(super) hooks: Option<Arc<RequestHooks>>,
    /// What of the loop is called.
    asyncio_loop: Py<PyAny>,
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
    inner: HeldCell<Inner>,
}

struct Inner {
    scopes: ScopeBuilder,
    date: CachedDate,
    /// Those whose app is suspended.
    suspended: Vec<Option<Party>>,
    free: Vec<usize>,
    /// By the low half of the connection's token: where its exchange is, and the token.
    by_token: Vec<Option<(u64, usize)>>,
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
    /// The worker's loop has ended.
    has_ended: bool,
}

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
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
            create_future: asyncio_loop.getattr("create_future")?.unbind(),
            get_task_factory: asyncio_loop.getattr("get_task_factory")?.unbind(),
            task_type: task_type.unbind(),
            task_options: options.unbind(),
            context: context.unbind(),
            first_steps: parts.first_steps,
            done: Bound::new(py, Done)?.into_any().unbind(),
            socket_settings: parts.socket_settings,
            socket_compression: parts.socket_compression,
            inner: HeldCell::new(Inner {
                scopes: parts.scopes,
                date: CachedDate::default(),
                suspended: Vec::new(),
                free: Vec::new(),
                by_token: Vec::new(),
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

    /// The callable that makes a turn.
    pub(super) fn turn_callable(self: &Arc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let turning = Bound::new(py, Turning(Arc::clone(self)))?;
        let turn = ffi::builtin::<Turn>(&turning)?;
        self.inner.borrow(py).turn = Some(turn.clone_ref(py));
        Ok(turn)
    }

    /// The loop has ended and is run again only to let what is left come to its end: no more turns.
    pub(super) fn end(&self, py: Python<'_>) {
        self.inner.borrow(py).has_ended = true;
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

    fn sweep_every_ms(&self) -> u64 {
        let station = &self.hub.station;
        let slow_ns = station.slow.limit_ns().unwrap_or(0);
        [station.live.request_timeout_ns(), slow_ns]
            .into_iter()
            .filter(|limit_ns| *limit_ns > 0)
            .map(|limit_ns| (limit_ns / 8_000_000).clamp(SWEEP_MS_MIN, SWEEP_MS_MAX))
            .min()
            .unwrap_or(SWEEP_MS_MAX)
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
        let traceback = formatted(py, error).unwrap_or_else(|_| error.to_string());
        py.detach(|| {
            let level = crate::config::LogLevel::Error;
            crate::telemetry::block(level, format_args!("{headline}"), &traceback);
        });
    }

    /// A response is over; its connection is the reactor's again. `token`: events of it went to an exchange.
    pub(super) fn on_finished(&self, py: Python<'_>, token: Option<u64>) -> PyResult<()> {
        let mut inner = self.inner.borrow(py);
        if let Some(token) = token {
            inner.forget_token(token);
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

    /// Whether the worker leaves and its WebSockets have had their time.
    pub(super) fn must_close_sockets(&self, now_ns: u64) -> bool {
        let grace = (self.hub.station.live.graceful() / 4).min(SOCKET_GRACE_MAX);
        self.hub
            .draining_for_ns(now_ns)
            .is_some_and(|ns| u128::from(ns) >= grace.as_nanos())
    }

    /// Whether they have had their time to answer the goodbye, too.
    pub(super) fn must_drop_sockets(&self, now_ns: u64) -> bool {
        let quarter = self.hub.station.live.graceful() / 4;
        let most = quarter.min(SOCKET_GRACE_MAX) + quarter.min(SOCKET_GOODBYE_MAX);
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
            inner.forget_token(token);
        }
        let forgotten = place.and_then(|place| inner.take(place));
        let must_turn = !inner.is_turning && self.hub.leaving() != Leaving::No;
        drop(inner);
        drop(forgotten);
        if must_turn && let Err(error) = self.turn_soon(py) {
            error.write_unraisable(py, None);
        }
    }

    fn turn_soon(&self, py: Python<'_>) -> PyResult<()> {
        let mut inner = self.inner.borrow(py);
        let Some(turn) = inner.turn.as_ref().map(|turn| turn.clone_ref(py)) else {
            return Ok(());
        };
        inner.is_turning = true;
        drop(inner);
        self.schedule(py, intern!(py, "call_soon"), (turn,))
            .map(drop)
    }

    /// The apps that have not returned yet.
    pub(super) fn running(&self, py: Python<'_>) -> usize {
        let inner = self.inner.borrow(py);
        inner.suspended.len() - inner.free.len()
    }

    fn turn(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let has_task_factory = !self.get_task_factory.bind(py).call0()?.is_none();
        let mut inner = self.inner.borrow(py);
        if inner.has_ended {
            return Ok(());
        }
        inner.is_turning = true;
        inner.has_task_factory = has_task_factory;
        drop(inner);
        match self.hub.has_cold_work() {
            true => py.detach(|| self.hub.turn()),
            false => self.hub.turn(),
        }
        loop {
            while let Some(connection) = self.hub.next_job() {
                self.begin(py, connection)?;
            }
            if !self.pass_reports_on(py)? {
                break;
            }
        }
        self.sweep(py)?;
        stacks::add_tasks(py, self.asyncio_loop.bind(py));
        loop_watch::start_when_wanted(&self.hub);
        let rest_ms = py.detach(|| self.hub.rest());
        self.inner.borrow(py).is_turning = false;
        match self.hub.leaving() {
            Leaving::Now => return self.stop(py),
            Leaving::WhenDone if self.running(py) == 0 => return self.stop(py),
            Leaving::WhenDone | Leaving::No => {}
        }
        match rest_ms {
            0 => self.turn_soon(py),
            rest_ms => self.turn_within(py, rest_ms),
        }
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.asyncio_loop
            .call_method0(py, intern!(py, "stop"))
            .map(drop)
    }

    /// Sees to it that there is a turn after so many milliseconds at the latest.
    fn turn_within(&self, py: Python<'_>, rest_ms: u64) -> PyResult<()> {
        let now_ms = sys::monotonic_ns() / 1_000_000;
        let mut inner = self.inner.borrow(py);
        let must_sweep = inner.suspended.len() > inner.free.len();
        let rest_ms = match must_sweep {
            true => rest_ms.min(inner.next_sweep_ms.saturating_sub(now_ms).max(1)),
            false => rest_ms,
        };
        let due_ms = now_ms + rest_ms;
        match &inner.timer {
            Some((_, at_ms)) if *at_ms > now_ms && *at_ms <= due_ms => return Ok(()),
            _ => {}
        }
        let overtaken = inner.timer.take();
        let Some(turn) = inner.turn.as_ref().map(|turn| turn.clone_ref(py)) else {
            return Ok(());
        };
        drop(inner);
        if let Some((timer, _)) = overtaken {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let seconds = rest_ms as f64 / 1_000.0;
        let timer = self.schedule(py, intern!(py, "call_later"), (seconds, turn))?;
        self.inner.borrow(py).timer = Some((timer.unbind(), due_ms));
        Ok(())
    }

    /// Starts a request's task.
    fn begin(self: &Arc<Self>, py: Python<'_>, mut connection: Box<Connection>) -> PyResult<()> {
        let is_half_closed = connection.half_closed;
        let scope = self.inner.borrow(py).scopes.build(
            py,
            &mut connection,
            &self.hub.station.request_ids,
        )?;
        let scope = match scope {
            Ok(scope) => scope,
            Err(refusal) => {
                let exchange = Exchange::new(Arc::clone(self), connection);
                Exchange::refuse(&Bound::new(py, exchange)?, refusal);
                return Ok(());
            }
        };
        if websocket::handshake::is_asked_for(connection.head(), connection.request_bytes()) {
            return self.begin_socket(py, connection, scope);
        }
        let spare = self.inner.borrow(py).spare.take();
        let objects = match spare {
            Some(spare) => spare.renew(py, connection),
            None => RequestObjects::new(py, self, connection)?,
        };
        let exchange = objects.exchange.bind(py);
        let mut context = None;
        if let Some(hooks) = &self.hooks {
            let own = self.fresh_context(py)?;
            let met = hooks.meet_asgi(py, &scope, &own)?;
            let before = hooks.before(py, &met);
            exchange.get().state.borrow(py).met = Some(met);
            if let Err(error) = before {
                self.report(py, &error, "a hook before a request failed");
                Exchange::refuse(exchange, Refusal::APP_FAILED);
                return Ok(());
            }
            context = Some(own.call_method0(intern!(py, "copy"))?);
        }
        let messages = [&objects.receive, &objects.send];
        let is_suspended = self.start(objects.run.bind(py), scope, messages, context)?;
        if is_suspended && is_half_closed {
            Exchange::start_grace(exchange)?;
        }
        if !is_suspended && !objects.are_kept(py) {
            self.inner.borrow(py).spare = Some(objects);
        }
        Ok(())
    }

    /// Starts the task of a WebSocket; the app decides whether it becomes one.
    fn begin_socket(
        self: &Arc<Self>,
        py: Python<'_>,
        connection: Box<Connection>,
        scope: Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let deflate = self.socket_compression.as_ref();
        let (head, bytes) = (connection.head(), connection.request_bytes());
        let opening = match Opening::read(head, bytes, deflate) {
            Ok(opening) => opening,
            Err(rejection) => {
                Socket::reject(self, connection, &rejection);
                return Ok(());
            }
        };
        self.inner
            .borrow(py)
            .scopes
            .make_websocket(py, &scope, opening.subprotocols())?;
        let socket = Bound::new(py, Socket::new(Arc::clone(self), connection, opening))?;
        let messages = [
            ffi::builtin::<ReceiveFrame>(&socket)?,
            ffi::builtin::<SendFrame>(&socket)?,
        ];
        let run = Bound::new(py, Run::new(Party::Socket(socket.unbind())))?;
        self.start(&run, scope, messages.each_ref(), None).map(drop)
    }

    /// Has the app called in this context, or in a copy of it; without one, in a copy of the current one. True: it is suspended in its task.
    fn start<'py>(
        &self,
        run: &Bound<'py, Run>,
        scope: Bound<'py, PyDict>,
        [receive, send]: [&Py<PyAny>; 2],
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = run.py();
        let arguments = [
            scope.into_any().unbind(),
            receive.clone_ref(py),
            send.clone_ref(py),
        ];
        run.get().prepare(py, self.app.clone_ref(py), arguments);
        let task = self.start_run(run, context.as_ref())?;
        let is_suspended = task.is_some();
        if let Some(task) = task {
            self.keep(run.get().party(), task)?;
        }
        Ok(is_suspended)
    }

    /// Returns the task, unless all is over already.
    fn start_run<'py>(
        &self,
        run: &Bound<'py, Run>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, party) = (run.py(), run.get().party());
        let new_task = |task_type: &Bound<'py, PyAny>, options| match context {
            Some(context) => context.call_method(intern!(py, "run"), (task_type, run), options),
            None => task_type.call((run,), options),
        };
        let task = if self.inner.borrow(py).has_task_factory {
            let create_task = self.asyncio_loop.bind(py).getattr("create_task")?;
            new_task(&create_task, None)?
        } else if let (Some(steps), Party::Request(_)) = (&self.first_steps, party) {
            let task = steps.get().take(run, context)?;
            return Ok(task.map(|task| task.into_bound(py)));
        } else {
            new_task(self.task_type.bind(py), Some(self.task_options.bind(py)))?
        };
        let is_done = task.call_method0(intern!(py, "done"))?.is_truthy()?;
        Ok((!is_done || !party.is_over(py)).then_some(task))
    }

    /// Keeps what is not over, and has the kernel report what happens to its connection.
    fn keep(&self, party: &Party, task: Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let mut inner = self.inner.borrow(py);
        let place = inner.free.pop().unwrap_or_else(|| {
            inner.suspended.push(None);
            inner.suspended.len() - 1
        });
        inner.suspended[place] = Some(party.clone_ref(py));
        if let Some(token) = party.suspend(py, task.unbind(), place) {
            let index = token as u32 as usize;
            if inner.by_token.len() <= index {
                inner.by_token.resize(index + 1, None);
            }
            inner.by_token[index] = Some((token, place));
        }
        Ok(())
    }

    /// Tells exchanges what happened to their connections. False: nothing did.
    fn pass_reports_on(&self, py: Python<'_>) -> PyResult<bool> {
        let mut reports = std::mem::take(&mut self.inner.borrow(py).reports);
        reports.clear();
        self.hub.take_reports(&mut reports);
        for (token, readiness) in &reports {
            let party = self.inner.borrow(py).find(py, *token);
            if let Some(party) = party {
                party.on_event(py, *readiness)?;
            }
        }
        let had_some = !reports.is_empty();
        self.inner.borrow(py).reports = reports;
        Ok(had_some)
    }

    fn sweep(&self, py: Python<'_>) -> PyResult<()> {
        let now_ns = sys::monotonic_ns();
        let mut inner = self.inner.borrow(py);
        if now_ns / 1_000_000 < inner.next_sweep_ms {
            return Ok(());
        }
        inner.next_sweep_ms = now_ns / 1_000_000 + self.sweep_every_ms();
        let suspended: Vec<Party> = inner
            .suspended
            .iter()
            .flatten()
            .map(|party| party.clone_ref(py))
            .collect();
        drop(inner);
        for party in suspended {
            party.sweep(py, now_ns)?;
        }
        Ok(())
    }
}

impl Inner {
    fn take(&mut self, place: usize) -> Option<Party> {
        let exchange = self.suspended.get_mut(place)?.take();
        self.free.push(place);
        exchange
    }

    fn find(&self, py: Python<'_>, token: u64) -> Option<Party> {
        let (known, place) = (*self.by_token.get(token as u32 as usize)?)?;
        if known != token {
            return None;
        }
        self.suspended
            .get(place)?
            .as_ref()
            .map(|party| party.clone_ref(py))
    }

    fn forget_token(&mut self, token: u64) {
        if let Some(entry) = self.by_token.get_mut(token as u32 as usize)
            && entry.is_some_and(|(known, _)| known == token)
        {
            *entry = None;
        }
    }
}

/// What [`Turn`] is bound to.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Turning(Arc<Gateway>);

pub(super) struct Turn;

impl Builtin for Turn {
    type This = Turning;
    const NAME: &'static CStr = c"turn";
    const DOC: &'static CStr = c"turn()\n\nServe what has come in.";
    const BEHAVIOUR: Behaviour<Turning> = turn;
}

fn turn(turning: &Bound<'_, Turning>, _: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let (py, gateway) = (turning.py(), &turning.get().0);
    copy::end_if_copy(py, None);
    if let Err(error) = gateway.turn(py) {
        // The server's own objects could not be made: out of memory, most likely.
        gateway.report(py, &error, "a worker's loop failed; the worker ends");
        gateway.stop(py)?;
        return Err(PyRuntimeError::new_err("the worker ends"));
    }
    Ok(py.None())
}
