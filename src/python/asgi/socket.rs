//! One WebSocket between the app and its client: messages in and out, and the end of both.
//!
//! What the client sends is read ahead of the app ([`reading`]), so that pings are answered and a goodbye is heard. The end
//! is told to the app after all that came before it. State is never borrowed while Python code runs.

mod deadlines;
mod end;
mod handshake;
mod inbox;
mod reading;

use std::{sync::Arc, time::Instant};

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use end::End;
use inbox::{Inbox, Message};
use reading::Rest;

use super::{
    awaitable::Awaited,
    client::{CLIENT_CLOSED, flush, gone, has_room},
    departure,
    gateway::Gateway,
    outcome::Outcome,
    waiters::{Sleepers, Waiters},
};
use crate::{
    http::status::SWITCHING_PROTOCOLS,
    python::ffi::GilCell,
    sys::{self, Readiness, net},
    websocket::{CloseError, Opening, WebSocket, close},
    wire::Count,
    worker::{Answered, Connection, log_answered},
};

#[pyclass(frozen, weakref, module = "rgunicorn")]
pub(super) struct Socket {
    pub(super) gateway: Arc<Gateway>,
    pub(super) state: GilCell<State>,
}

pub(super) enum Phase {
    /// The app has not decided yet.
    Connecting(Box<Opening>),
    Open(Box<WebSocket>),
    /// It was denied, or the client was gone before it was accepted.
    Denied,
}

pub(super) struct State {
    /// `None` once the WebSocket is over.
    pub(super) connection: Option<Box<Connection>>,
    pub(super) phase: Phase,
    inbox: Inbox,
    /// The app was told of the connection.
    is_announced: bool,
    /// Received and not decoded yet.
    rest: Rest,
    /// The client is read no further, because the inbox is full.
    awaits_app: bool,
    /// The client takes nothing any more. What it has sent may still be there.
    is_deaf: bool,
    /// All that came before was decoded.
    end: End,
    /// Of a denial.
    pub(super) outcome: Outcome,
    pub(super) denial: Vec<u8>,
    bytes_sent: u64,
    waiters: Waiters,
    pub(super) task: Option<Py<PyAny>>,
    /// Where the gateway keeps it.
    pub(super) place: Option<usize>,
    app_has_ended: bool,
    /// The app has said `websocket.close`.
    pub(super) is_closed_by_app: bool,
    /// The app took longer than `timeouts.request` to decide.
    timed_out: bool,
}

impl Socket {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        connection: Box<Connection>,
        opening: Opening,
    ) -> Self {
        Self {
            gateway,
            state: GilCell::new(State {
                connection: Some(connection),
                phase: Phase::Connecting(Box::new(opening)),
                inbox: Inbox::default(),
                is_announced: false,
                rest: Rest::default(),
                awaits_app: false,
                is_deaf: false,
                end: End::default(),
                outcome: Outcome::default(),
                denial: Vec::new(),
                bytes_sent: 0,
                waiters: Waiters::default(),
                task: None,
                place: None,
                app_has_ended: false,
                is_closed_by_app: false,
                timed_out: false,
            }),
        }
    }

    /// Whether what was sent is out.
    pub(super) fn has_room(&self, py: Python<'_>) -> bool {
        has_room(self.state.borrow(py).connection.as_deref())
    }

    /// The next message, if there is one.
    pub(super) fn poll_receive(this: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        if !state.is_announced {
            state.is_announced = true;
            drop(state);
            return message(py, "websocket.connect").map(|dict| Some(dict.into_any().unbind()));
        }
        if let Some(received) = state.inbox.pop() {
            let must_read = state.inbox.is_low() && std::mem::take(&mut state.awaits_app);
            drop(state);
            let hub = &this.get().gateway.hub;
            hub.count_message(Count::MessagesReceived);
            let dict = message(py, "websocket.receive")?;
            match received {
                Message::Text(text) => dict.set_item(intern!(py, "text"), text)?,
                Message::Bytes(bytes) => dict.set_item(intern!(py, "bytes"), bytes)?,
            }
            if must_read {
                Self::read_next_turn(this)?;
            }
            return Ok(Some(dict.into_any().unbind()));
        }
        let Some((code, reason)) = state.end.get().cloned() else {
            return Ok(None);
        };
        drop(state);
        let dict = message(py, "websocket.disconnect")?;
        dict.set_item(intern!(py, "code"), code)?;
        dict.set_item(intern!(py, "reason"), reason)?;
        Ok(Some(dict.into_any().unbind()))
    }

    /// Whether what was sent is out.
    pub(super) fn poll_room(this: &Bound<'_, Self>) -> PyResult<bool> {
        Ok(this.get().has_room(this.py()))
    }

    pub(super) fn new_waiter<'py>(
        this: &Bound<'py, Self>,
        awaited: Awaited,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let future = this.get().gateway.new_future(py)?;
        let mut state = this.get().state.borrow(py);
        state.waiters.add(awaited, &future);
        Ok(future)
    }

    /// Says goodbye; the connection stays until the client has said so too, or takes too long to.
    pub(super) fn close(this: &Bound<'_, Self>, code: u16, reason: &str) -> Result<(), CloseError> {
        let mut out = Vec::new();
        let mut state = this.get().state.borrow(this.py());
        let Phase::Open(open) = &mut state.phase else {
            return Err(CloseError::IsClosed);
        };
        open.close(code, reason, Instant::now(), &mut out)?;
        // What it has sent is dropped from here on, and takes no room.
        let must_read = std::mem::take(&mut state.awaits_app);
        drop(state);
        Self::transmit(this, &out);
        if must_read && let Err(error) = Self::read_next_turn(this) {
            error.write_unraisable(this.py(), Some(this.as_any()));
        }
        Ok(())
    }

    /// Sends frames; what the socket does not take waits.
    pub(super) fn transmit(this: &Bound<'_, Self>, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut guard = this.get().state.borrow(this.py());
        let state = &mut *guard;
        let Some(connection) = state.connection.as_mut().filter(|_| !state.is_deaf) else {
            return;
        };
        let sent = match connection.output.is_empty() {
            true => net::taken(connection.send(bytes, net::Next::Unknown)),
            false => Ok(0),
        };
        match sent {
            Ok(sent) => {
                if connection.output.is_empty() && sent < bytes.len() {
                    let write_ms = this.get().gateway.write_ms();
                    connection.deadline_ms = sys::monotonic_ms() + write_ms;
                }
                connection.output.push_bytes(&bytes[sent..]);
                state.bytes_sent += bytes.len() as u64;
            }
            Err(_) => state.is_deaf = true,
        }
    }

    pub(super) fn on_event(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        if readiness.has_ended() && matches!(state.phase, Phase::Connecting(_)) {
            // Before the handshake nothing is expected but the end.
            drop(guard);
            return Self::lose_client(this);
        }
        connection.unread |= readiness.can_read();
        connection.end_was_announced |= readiness.has_ended();
        state.is_deaf |= readiness.is_broken();
        if !state.is_deaf && readiness.can_write() && !connection.output.is_empty() {
            state.is_deaf = flush(connection, gateway.write_ms()).is_err();
        }
        if state.is_deaf {
            gateway.hub.count_traffic(connection);
            drop(std::mem::take(&mut connection.output));
        }
        let senders = match connection.output.is_empty() {
            true => state.waiters.take(Awaited::Room),
            false => Sleepers::default(),
        };
        drop(guard);
        senders.wake(py)?;
        // What the client said before it went is still there.
        Self::read(this)
    }

    /// The client is given up: what it has sent and the app has not been given is dropped.
    fn lose_client(this: &Bound<'_, Self>) -> PyResult<()> {
        let mut guard = this.get().state.borrow(this.py());
        let state = &mut *guard;
        if state.connection.is_none() {
            return Ok(());
        }
        match &mut state.phase {
            Phase::Open(open) => drop(open.end()),
            Phase::Connecting(_) if !state.outcome.has_begun() => {
                state.outcome.status = CLIENT_CLOSED;
            }
            Phase::Connecting(_) | Phase::Denied => {}
        }
        state.end.note(close::ABNORMAL, "");
        drop(guard);
        Self::finish(this)
    }

    /// The connection is done with; who waits is told.
    fn finish(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let sleepers = state.waiters.take_all();
        let Some(mut connection) = state.connection.take() else {
            return Ok(());
        };
        let is_socket = matches!(state.phase, Phase::Open(_));
        let (status, bytes) = match is_socket {
            true => (SWITCHING_PROTOCOLS, state.bytes_sent),
            false => (state.outcome.status, state.outcome.body_bytes),
        };
        let answered = Answered {
            status,
            bytes,
            head: &state.outcome.head.lines,
            environ: &[],
        };
        log_answered(&gateway.hub.station, &connection, &answered);
        let persistent = state.outcome.shape.is_some_and(|shape| shape.persistent);
        let then_close = is_socket || !persistent;
        // A client that is still sending must not lose our goodbye to a reset.
        connection.unread |= is_socket && !connection.end_was_read;
        let token = connection.token;
        let place = match state.app_has_ended {
            true => state.place.take(),
            false => None,
        };
        drop(guard);
        if is_socket {
            gateway.hub.count_closed();
        }
        gateway.hub.finish(connection, then_close, status);
        gateway.on_finished(py, Some(token))?;
        gateway.forget(py, place, None);
        sleepers.wake(py)
    }

    /// The app has returned, or failed: a WebSocket that it left open is closed for it.
    pub(super) fn app_ended(this: &Bound<'_, Self>, result: &PyResult<()>) {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut state = this.get().state.borrow(py);
        state.task = None;
        state.app_has_ended = true;
        let (has_end, timed_out) = (state.end.get().is_some(), state.timed_out);
        let request = state.connection.as_deref().map(Connection::described);
        let is_undecided = matches!(state.phase, Phase::Connecting(_));
        let place = match state.connection.is_none() {
            true => state.place.take(),
            false => None,
        };
        drop(state);
        gateway.forget(py, place, None);
        let request = request.unwrap_or_else(|| "a WebSocket that had ended".to_owned());
        let code = match result {
            Ok(()) => close::NORMAL,
            Err(_) if timed_out => return,
            Err(error) if gateway.was_cut_off(py, error) => close::GOING_AWAY,
            Err(error) if has_end && departure::tells_of_it(py, error) => close::NORMAL,
            Err(error) => {
                gateway.report(py, error, &format!("the app failed on {request}"));
                close::INTERNAL_ERROR
            }
        };
        if !is_undecided {
            // It may be closed already.
            let _ = Self::close(this, code, "");
            return;
        }
        if result.is_ok() && !has_end {
            py.detach(|| {
                crate::error!("the app neither accepted nor closed the WebSocket of {request}");
            });
        }
        if let Err(error) = Self::deny(this, 500) {
            // The client was gone before.
            drop(error);
        }
    }
}

impl State {
    /// The open WebSocket: an error when it is not, or when the client is gone.
    pub(super) fn open(&mut self) -> PyResult<&mut WebSocket> {
        if self.is_closed_by_app {
            return Err(closed_by_app());
        }
        if self.end.get().is_some() || self.is_deaf {
            return Err(gone());
        }
        match &mut self.phase {
            Phase::Open(open) => Ok(open),
            Phase::Connecting(_) | Phase::Denied => Err(PyRuntimeError::new_err(
                "websocket.accept comes before websocket.send",
            )),
        }
    }
}

pub(super) fn closed_by_app() -> PyErr {
    PyRuntimeError::new_err("the app has closed the WebSocket")
}

fn message<'py>(py: Python<'py>, kind: &'static str) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "type"), PyString::intern(py, kind))?;
    Ok(dict)
}
