//! One request and its response: what the app may still receive and send, and who waits for what.
//!
//! The connection is here from the start of the request to the end of the response, which may be before the app returns:
//! then it goes back to the reactor for the next request, and the app may work on in the background. State is never
//! borrowed while Python code runs.
//!
//! A client that closes only its sending side (a FIN) may still read the answer, or may be gone for good: TCP does not
//! tell. uvicorn takes it for gone and cuts the answer off. Here `http.disconnect` is told after [`HALF_CLOSE_GRACE`], and
//! `send` works on until the connection is really broken, so an app that does not listen answers in full.

use std::{io, sync::Arc};

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{
    awaitable::Awaited,
    departure,
    gateway::Gateway,
    outcome::Outcome,
    send,
    waiters::{Sleepers, Waiters, has_room},
};
use crate::{
    config::LogLevel,
    http::{Refusal, RequestTraits, response},
    python::{ClientDisconnected, ffi::HeldCell, hooks::Met, stacks},
    sys::{self, Readiness, net},
    worker::{Answered, Arrival, Connection, RequestIds, Sent, log_answered},
};

/// Seconds after a client closed its sending side before the app is told that it is gone.
pub(super) const HALF_CLOSE_GRACE: f64 = 0.5;
/// Bytes of a body that the app did not ask for which are read to keep the connection.
const SKIPPED_BYTES_MAX: usize = 64 * 1024;
/// nginx's word in the log for a client that closed before there was an answer.
pub(super) const CLIENT_CLOSED: u16 = 499;

#[pyclass(frozen, weakref, module = "rgunicorn")]
pub(super) struct Exchange {
    pub(super) gateway: Arc<Gateway>,
    pub(super) state: HeldCell<State>,
}

/// How much of the request the app has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Body,
    /// The next message is `http.disconnect`.
    Complete,
}

pub(super) struct State {
    /// `None` once the response is over.
    pub(super) connection: Option<Box<Connection>>,
    pub(super) outcome: Outcome,
    pub(super) began_ns: u64,
    intake: Intake,
    /// Until when the client has to go on with a body that is waited for, CLOCK_MONOTONIC milliseconds. The connection's own deadline is
    /// that of what it has to read.
    body_due_ms: u64,
    /// The client is gone, as far as the app is concerned.
    disconnected: bool,
    /// Nothing can be sent any more.
    broken: bool,
    /// The response is complete and waits for others.
    pub(super) is_held: bool,
    /// It was told to be slow.
    is_slow: bool,
    /// It was answered with 504 and its task is being cancelled.
    pub(super) timed_out: bool,
    /// The head waited for its body already when the deadlines were last looked at.
    pub(super) head_has_waited: bool,
    /// What the log calls a request that was answered with an error: frameworks answer an exception and raise it again.
    failed: Option<Box<(String, String)>>,
    waiters: Waiters,
    /// Set while the app is suspended.
    pub(super) task: Option<Py<PyAny>>,
    /// Where the gateway keeps it.
    pub(super) place: Option<usize>,
    /// For `hooks.post_request`.
    pub(super) met: Option<Met>,
}

impl Exchange {
    pub(super) fn new(gateway: Arc<Gateway>, connection: Box<Connection>) -> Self {
        Self {
            gateway,
            state: HeldCell::new(State::new(connection)),
        }
    }

    /// The next message, if there is one.
    pub(super) fn poll_receive(this: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (py, exchange) = (this.py(), this.get());
        let mut guard = exchange.state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            drop(guard);
            return disconnect(py).map(Some);
        };
        if state.intake == Intake::Complete {
            // What the client sent before it went comes first.
            let has_gone = state.disconnected;
            drop(guard);
            return has_gone.then(|| disconnect(py)).transpose();
        }
        let mut content = Vec::new();
        let body = match connection.body() {
            crate::worker::Body::Inline(length) => {
                PyBytes::new(py, connection.inline_body(*length))
            }
            _ => match connection.receive_body(&mut content) {
                Ok(Arrival::Content { complete }) => {
                    state.body_due_ms = u64::MAX;
                    if !complete {
                        drop(guard);
                        return request_message(py, &PyBytes::new(py, &content), true).map(Some);
                    }
                    PyBytes::new(py, &content)
                }
                Ok(Arrival::Nothing) => {
                    state.await_body(exchange.gateway.body_ms());
                    return Ok(None);
                }
                Ok(Arrival::End) => {
                    drop(guard);
                    Self::refuse(this, Refusal::new(400, "the request was cut short"));
                    return disconnect(py).map(Some);
                }
                Err(refusal) => {
                    drop(guard);
                    Self::refuse(this, refusal);
                    return disconnect(py).map(Some);
                }
            },
        };
        state.intake = Intake::Complete;
        drop(guard);
        request_message(py, &body, false).map(Some)
    }

    /// Whether what was sent is out; an error when the client is gone.
    pub(super) fn poll_room(this: &Bound<'_, Self>) -> PyResult<bool> {
        let state = this.get().state.borrow(this.py());
        if state.broken {
            return Err(gone());
        }
        Ok(has_room(state.connection.as_deref()))
    }

    /// A future that is done when it is worth asking again.
    pub(super) fn new_waiter<'py>(
        this: &Bound<'py, Self>,
        awaited: Awaited,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let gateway = &this.get().gateway;
        let future = gateway.new_future(py)?;
        let mut state = this.get().state.borrow(py);
        if let Some(connection) = &state.connection {
            gateway.hub.reactor().register(connection);
        }
        state.waiters.add(awaited, &future);
        Ok(future)
    }

    /// What the kernel reported of the connection meanwhile.
    pub(super) fn on_event(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let py = this.py();
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        connection.unread |= readiness.can_read();
        let was_half_closed = connection.end_was_announced;
        connection.end_was_announced |= readiness.has_ended();
        let is_newly_closed = connection.end_was_announced && !was_half_closed;
        let mut is_broken = readiness.is_broken();
        let mut has_room = false;
        if !is_broken && readiness.can_write() && !connection.output.is_empty() {
            match flush(connection, this.get().gateway.write_ms()) {
                Ok(is_out) => has_room = is_out,
                Err(_) => is_broken = true,
            }
        }
        if is_broken {
            // Who waits is told there.
            drop(guard);
            return Self::lose_client(this);
        }
        let has_input = readiness.can_read() && state.intake == Intake::Body;
        let mut senders = Sleepers::default();
        if has_room {
            senders = state.waiters.take(Awaited::Room);
        }
        let mut receivers = Sleepers::default();
        if has_input {
            receivers = state.waiters.take(Awaited::Message);
        }
        drop(guard);
        if is_newly_closed {
            Self::start_grace(this)?;
        }
        senders.wake(py)?;
        receivers.wake(py)
    }

    /// The client closed its sending side: after a while that counts as gone.
    pub(super) fn start_grace(this: &Bound<'_, Self>) -> PyResult<()> {
        let over = this.getattr(intern!(this.py(), "_grace_is_over"))?;
        this.get()
            .gateway
            .call_later(this.py(), HALF_CLOSE_GRACE, &over)
    }

    /// Nothing can be sent any more: the connection is given back, and who waits is told.
    pub(super) fn lose_client(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        state.broken = true;
        if !state.outcome.has_begun() {
            state.outcome.status = CLIENT_CLOSED;
        }
        drop(state);
        Self::finish(this, true)
    }

    /// Answers in the app's place, if nothing was answered yet, and ends the response.
    pub(super) fn refuse(this: &Bound<'_, Self>, refusal: Refusal) {
        let py = this.py();
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        state.disconnected = true;
        if let Some(connection) = &mut state.connection
            && !state.outcome.head_is_sent()
        {
            let ids = &this.get().gateway.hub.station.request_ids;
            let outcome = &mut state.outcome;
            outcome.status = refusal.status;
            outcome.head.clear();
            (outcome.head.lines, outcome.body_bytes) = ids.refuse(refusal, connection);
        }
        drop(guard);
        if let Err(error) = Self::finish(this, true) {
            error.write_unraisable(py, Some(this.as_any()));
        }
    }

    /// The response is over: the connection goes back to the reactor, and who waits is told.
    pub(super) fn finish(this: &Bound<'_, Self>, must_close: bool) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let sleepers = state.waiters.take_all();
        if let Some(mut connection) = state.connection.take() {
            let outcome = &state.outcome;
            let answered = Answered {
                status: outcome.status,
                bytes: outcome.body_bytes,
                head: &outcome.head.lines,
                environ: &[],
            };
            log_answered(&gateway.hub.station, &connection, &answered);
            let persistent = outcome.shape.is_some_and(|shape| shape.persistent);
            let then_close = must_close || state.broken || !persistent || connection.awaits_body();
            connection.unread |= connection.end_was_announced || connection.awaits_body();
            let (status, token) = (outcome.status, connection.token);
            if status >= 500 {
                let ids = &gateway.hub.station.request_ids;
                state.failed = Some(Box::new(ids.name(Some(&connection))));
            }
            let (is_held, is_kept) = (state.is_held, state.place.is_some());
            let met = state.met.take();
            drop(guard);
            match is_held {
                true => gateway.hub.finish_held(connection, then_close, status),
                false => gateway.hub.finish(connection, then_close, status),
            }
            gateway.on_finished(py, is_kept.then_some(token))?;
            if let Some(met) = met {
                this.get().tell_answer(py, &met);
            }
        } else {
            drop(guard);
        }
        sleepers.wake(py)
    }

    /// Tells the hook what was answered.
    fn tell_answer(&self, py: Python<'_>, met: &Met) {
        let Some(hooks) = self.gateway.hooks.as_ref().filter(|h| h.wants_outcome()) else {
            return;
        };
        let state = self.state.borrow(py);
        let outcome = &state.outcome;
        let (status, bytes, head) = (
            outcome.status,
            outcome.body_bytes,
            outcome.head.lines.clone(),
        );
        drop(state);
        hooks.after(py, met, status, &head, bytes);
    }

    /// The app has returned, or failed.
    pub(super) fn app_ended(this: &Bound<'_, Self>, result: &PyResult<()>) {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut state = this.get().state.borrow(py);
        state.task = None;
        let place = state.place.take();
        let is_open = state.connection.is_some();
        let knows_of_the_end = state.disconnected || state.broken;
        let (has_begun, timed_out) = (state.outcome.has_begun(), state.timed_out);
        let failed = state.failed.take().map(|named| *named);
        let request = match &state.connection {
            Some(connection) => Some(gateway.hub.station.request_ids.name(Some(connection))),
            None => failed,
        };
        let token = state.connection.as_ref().map(|connection| connection.token);
        drop(state);
        gateway.forget(py, place, token);
        let (id, request) =
            request.unwrap_or_else(|| (String::new(), "a request that was answered".to_owned()));
        match result {
            Err(error) if knows_of_the_end && departure::tells_of_it(py, error) => {}
            Err(_) if timed_out => {}
            Err(error) if gateway.was_cut_off(py, error) => {}
            Err(error) => gateway.report(py, error, &format!("{id}the app failed on {request}")),
            Ok(()) if !is_open || knows_of_the_end => {}
            Ok(()) if has_begun => py.detach(|| {
                crate::error!("{id}the app returned without completing its response to {request}");
            }),
            Ok(()) => py.detach(|| {
                crate::error!("{id}the app returned without a response to {request}");
            }),
        }
        if is_open {
            Self::refuse(this, Refusal::APP_FAILED);
        }
    }

    /// `timeouts.request` is over: answers in the app's place and cancels its task.
    pub(super) fn time_out(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        state.timed_out = true;
        let ids = &this.get().gateway.hub.station.request_ids;
        let (id, request) = ids.name(state.connection.as_deref());
        let task = state.task.as_ref().map(|task| task.clone_ref(py));
        drop(state);
        Self::refuse(this, Refusal::APP_TIMEOUT);
        py.detach(|| crate::error!("{id}cancelled after timeouts.request: {request}"));
        match task {
            Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// Tells of it once, if it has been with the app for long: where its task waits.
    fn tell_if_slow(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let (py, station) = (this.py(), &this.get().gateway.hub.station);
        let mut state = this.get().state.borrow(py);
        let age_ns = now_ns.saturating_sub(state.began_ns);
        if state.is_slow || station.slow.limit_ns().is_none_or(|limit| age_ns <= limit) {
            return Ok(());
        }
        state.is_slow = true;
        let Some((connection, task)) = state.connection.as_ref().zip(state.task.as_ref()) else {
            return Ok(());
        };
        let id = station.request_ids.prefix(connection);
        let what = format!("{id}{}", connection.described());
        let task = task.clone_ref(py);
        drop(state);
        let Some(headline) = (station.slow).headline(station.slot(), &what, age_ns, now_ns) else {
            return Ok(());
        };
        let stack = stacks::of_task(task.bind(py));
        py.detach(|| {
            crate::telemetry::block(LogLevel::Warning, format_args!("{headline}"), &stack);
        });
        Ok(())
    }

    /// Looks at the deadlines.
    pub(super) fn sweep(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        Self::tell_if_slow(this, now_ns)?;
        let gateway = &this.get().gateway;
        let mut state = this.get().state.borrow(this.py());
        let began_ns = state.began_ns;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        gateway.hub.count_traffic(connection);
        let now_ms = now_ns / 1_000_000;
        let is_late = is_stuck(connection, now_ms) || state.body_due_ms <= now_ms;
        let is_over = gateway.is_past_request_timeout(began_ns, now_ns);
        drop(state);
        match (is_over, is_late) {
            (true, _) => Self::time_out(this),
            (false, true) => Self::expire(this, now_ns),
            (false, false) => send::send_waiting_head(this),
        }
    }

    /// The client took too long, unless the kernel knows better: the app may have blocked the loop since.
    fn expire(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let state = this.get().state.borrow(this.py());
        let Some(connection) = &state.connection else {
            return Ok(());
        };
        let readiness = Readiness::now(connection.socket());
        drop(state);
        Self::on_event(this, readiness)?;
        let mut state = this.get().state.borrow(this.py());
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        let now_ms = now_ns / 1_000_000;
        let reads_first = !connection.output.is_empty();
        if is_stuck(connection, now_ms) {
            drop(state);
            return Self::lose_client(this);
        }
        if state.body_due_ms > now_ms {
            return Ok(());
        }
        if readiness.can_read() {
            // It is the app's turn; a part that is too short for it sets a new deadline.
            state.body_due_ms = u64::MAX;
        } else if reads_first {
            state.body_due_ms = now_ms + this.get().gateway.body_ms();
        } else {
            drop(state);
            Self::refuse(this, Refusal::BODY_TIMEOUT);
        }
        Ok(())
    }
}

#[pymethods]
impl Exchange {
    fn _grace_is_over(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        if state.connection.is_none() {
            return Ok(());
        }
        state.disconnected = true;
        let receivers = state.waiters.take(Awaited::Message);
        drop(state);
        receivers.wake(py)
    }
}

impl State {
    fn new(connection: Box<Connection>) -> Self {
        Self {
            outcome: Outcome::default(),
            began_ns: connection.request_began_ns,
            connection: Some(connection),
            intake: Intake::Body,
            body_due_ms: u64::MAX,
            disconnected: false,
            broken: false,
            is_held: false,
            is_slow: false,
            timed_out: false,
            head_has_waited: false,
            failed: None,
            waiters: Waiters::default(),
            task: None,
            place: None,
            met: None,
        }
    }

    /// For another request; keeps the room for a head.
    pub(super) fn renew(&mut self, connection: Box<Connection>) {
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.clear();
        *self = Self {
            outcome,
            ..Self::new(connection)
        };
    }

    /// In the response's head, where that is wanted.
    pub(super) fn say_request_id(&mut self, ids: &RequestIds) {
        if let Some(connection) = &self.connection {
            ids.write_field(connection, &mut self.outcome.head.lines);
        }
    }

    /// Drops what has come of a body that the app did not ask for. With the end of its response nobody will, and the connection
    /// can be kept where that is all of it.
    pub(super) fn skip_body(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let (mut part, mut skipped) = (Vec::new(), 0);
        while connection.awaits_body() && skipped <= SKIPPED_BYTES_MAX {
            part.clear();
            match connection.receive_body(&mut part) {
                Ok(Arrival::Content { .. }) => skipped += part.len(),
                Ok(Arrival::Nothing | Arrival::End) | Err(_) => return,
            }
        }
    }

    /// The app waits for a body that is not there: the client is asked for it if it wants to be.
    fn await_body(&mut self, body_ms: u64) {
        let head_is_sent = self.outcome.head_is_sent();
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.body_due_ms = sys::monotonic_ns() / 1_000_000 + body_ms;
        if !head_is_sent && connection.output.is_empty() && connection.take_continue() {
            // A socket that does not take 25 bytes belongs to a client that does not read: it will not send either.
            let _ = connection.send(response::CONTINUE, net::Next::Unknown);
        }
    }

    /// Whether the app may send: an error when the client is gone.
    pub(super) fn open(&mut self) -> PyResult<&mut Connection> {
        if self.broken {
            return Err(gone());
        }
        match &mut self.connection {
            Some(connection) => Ok(connection),
            None if self.disconnected => Err(gone()),
            None => Err(PyRuntimeError::new_err(
                "the response is complete; nothing more can be sent",
            )),
        }
    }

    /// What of the request bears on the response. A body that is still on its way would have to be read to its end before
    /// the next request: such a connection ends.
    pub(super) fn traits(&self, may_persist: bool) -> RequestTraits {
        match &self.connection {
            Some(connection) => {
                let head = connection.head();
                RequestTraits {
                    version: head.version,
                    is_head: connection.is_head(),
                    persistent: head.persistent && may_persist && !connection.awaits_body(),
                }
            }
            None => RequestTraits {
                version: crate::http::Version::Http11,
                is_head: false,
                persistent: false,
            },
        }
    }
}

/// Whether the client has not read for too long.
pub(super) fn is_stuck(connection: &Connection, now_ms: u64) -> bool {
    !connection.output.is_empty() && connection.deadline_ms <= now_ms
}

/// Sends what waits; true when all is out.
pub(super) fn flush(connection: &mut Connection, write_ms: u64) -> io::Result<bool> {
    let mut output = std::mem::take(&mut connection.output);
    let mut progress = false;
    let sent = output.send(u64::MAX, connection.socket(), &mut progress);
    connection.output = output;
    if progress {
        connection.deadline_ms = sys::monotonic_ns() / 1_000_000 + write_ms;
    }
    let is_out = sent? == Sent::All;
    if is_out {
        connection.deadline_ms = u64::MAX;
    }
    Ok(is_out)
}

pub(super) fn gone() -> PyErr {
    ClientDisconnected::new_err("the client has closed the connection")
}

fn request_message(py: Python<'_>, body: &Bound<'_, PyBytes>, more: bool) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
    message.set_item(intern!(py, "body"), body)?;
    message.set_item(intern!(py, "more_body"), more)?;
    Ok(message.into_any().unbind())
}

fn disconnect(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
    Ok(message.into_any().unbind())
}
