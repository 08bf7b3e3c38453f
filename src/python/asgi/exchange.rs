//! One request and its response: what the app may still receive and send, and who waits for what.
//!
//! The connection is here from the start of the request to the end of the response, which may be before the app returns:
//! then it goes back to the reactor for the next request, and the app may work on in the background. State is never
//! borrowed while Python code runs.
//!
//! A client that closes only its sending side (a FIN) may still read the answer, or may be gone for good: TCP does not
//! tell. uvicorn takes it for gone and cuts the answer off. Here `http.disconnect` is told after [`deadlines::HALF_CLOSE_GRACE`], and
//! `send` works on until the connection is really broken, so an app that does not listen answers in full.

mod deadlines;
mod receiving;

use std::sync::Arc;

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    awaitable::Awaited,
    client::{CLIENT_CLOSED, flush, gone, has_room},
    departure,
    gateway::Gateway,
    outcome::Outcome,
    waiters::{Sleepers, Waiters},
};
use crate::{
    http::{Refusal, RequestTraits},
    python::{
        ffi::GilCell,
        hooks::{Answer, Met},
    },
    sys::Readiness,
    worker::{Answered, Connection, RequestIds, log_answered},
};

#[pyclass(frozen, weakref, module = "rgunicorn")]
pub(super) struct Exchange {
    pub(super) gateway: Arc<Gateway>,
    pub(super) state: GilCell<State>,
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
    /// The log has told that it is slow.
    is_reported_slow: bool,
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
            state: GilCell::new(State::new(connection)),
        }
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
            if let Some((met, hooks)) = met.zip(gateway.hooks.as_ref()) {
                hooks.after(py, &met, || this.get().answer(py));
            }
        } else {
            drop(guard);
        }
        sleepers.wake(py)
    }

    fn answer(&self, py: Python<'_>) -> Answer {
        let state = self.state.borrow(py);
        Answer {
            status: state.outcome.status,
            head: state.outcome.head.lines.clone(),
            body_bytes: state.outcome.body_bytes,
        }
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
            is_reported_slow: false,
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
