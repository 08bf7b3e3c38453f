//! One WebSocket between the app and its client: messages in and out, and the end of both.
//!
//! What the client sends is read ahead of the app until the [`Inbox`] is full, so that pings are answered and a goodbye is
//! heard; beyond that nothing is read, and the client has to wait. State is never borrowed while Python code
//! runs.

mod deadlines;
mod handshake;
mod inbox;

use std::{io, sync::Arc, time::Instant};

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use inbox::{Inbox, Message};

use super::{
    awaitable::Awaited,
    departure,
    exchange::{flush, gone},
    gateway::Gateway,
    outcome::Outcome,
    waiters::{Sleepers, Waiters, has_room},
};
use crate::{
    python::ffi::HeldCell,
    sys::{self, Readiness, net},
    websocket::{CloseError, Event, Opening, WebSocket, close},
    wire::Count,
    worker::{Answered, Connection, log_answered},
};

/// Bytes that are received at once.
const RECEIVE_BYTES: usize = 64 * 1024;
/// What the log shows for a WebSocket.
const SWITCHING_PROTOCOLS: u16 = 101;

#[pyclass(frozen, weakref, module = "rgunicorn")]
pub(super) struct Socket {
    pub(super) gateway: Arc<Gateway>,
    pub(super) state: HeldCell<State>,
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
    /// Received bytes of a frame that is not complete.
    rest: Vec<u8>,
    /// How it ended, as the app is told.
    end: Option<(u16, String)>,
    /// Of a denial.
    pub(super) outcome: Outcome,
    pub(super) denial: Vec<u8>,
    bytes_sent: u64,
    waiters: Waiters,
    pub(super) task: Option<Py<PyAny>>,
    /// Where the gateway keeps it.
    pub(super) place: Option<usize>,
    app_has_ended: bool,
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
            state: HeldCell::new(State {
                connection: Some(connection),
                phase: Phase::Connecting(Box::new(opening)),
                inbox: Inbox::default(),
                is_announced: false,
                rest: Vec::new(),
                end: None,
                outcome: Outcome::default(),
                denial: Vec::new(),
                bytes_sent: 0,
                waiters: Waiters::default(),
                task: None,
                place: None,
                app_has_ended: false,
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
        let was_full = state.inbox.is_full();
        if let Some(received) = state.inbox.pop() {
            let has_room_again = was_full && !state.inbox.is_full();
            drop(state);
            let hub = &this.get().gateway.hub;
            hub.count_message(Count::MessagesReceived);
            let dict = message(py, "websocket.receive")?;
            match received {
                Message::Text(text) => dict.set_item(intern!(py, "text"), text)?,
                Message::Bytes(bytes) => dict.set_item(intern!(py, "bytes"), bytes)?,
            }
            if has_room_again {
                Self::read(this)?;
            }
            return Ok(Some(dict.into_any().unbind()));
        }
        let end = match (&state.end, &state.connection) {
            (Some((code, reason)), _) => (*code, reason.clone()),
            (None, None) => (close::ABNORMAL, String::new()),
            (None, Some(_)) => return Ok(None),
        };
        drop(state);
        let dict = message(py, "websocket.disconnect")?;
        dict.set_item(intern!(py, "code"), end.0)?;
        dict.set_item(intern!(py, "reason"), end.1)?;
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
        drop(state);
        if let Err(error) = Self::transmit(this, &out) {
            error.write_unraisable(this.py(), Some(this.as_any()));
        }
        Ok(())
    }

    /// Sends frames; what the socket does not take waits.
    pub(super) fn transmit(this: &Bound<'_, Self>, bytes: &[u8]) -> PyResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut guard = this.get().state.borrow(this.py());
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Err(gone());
        };
        let sent = match connection.output.is_empty() {
            true => net::taken(connection.send(bytes, net::Next::Unknown)),
            false => Ok(0),
        };
        match sent {
            Ok(sent) => {
                if connection.output.is_empty() && sent < bytes.len() {
                    let write_ms = this.get().gateway.write_ms();
                    connection.deadline_ms = sys::monotonic_ns() / 1_000_000 + write_ms;
                }
                connection.output.push_bytes(&bytes[sent..]);
                state.bytes_sent += bytes.len() as u64;
                Ok(())
            }
            Err(_) => {
                drop(guard);
                Self::lose_client(this)
            }
        }
    }

    /// Reads what has come, as far as there is room for it.
    fn read(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut scratch = gateway.take_scratch(py);
        let mut out = Vec::new();
        let mut guard = this.get().state.borrow(py);
        let result = guard.read(py, &mut scratch, &mut out);
        let state = &mut *guard;
        let is_over = matches!(&state.phase, Phase::Open(open) if open.is_over());
        let receivers = match state.inbox.is_empty() && state.end.is_none() {
            true => Sleepers::default(),
            false => state.waiters.take(Awaited::Message),
        };
        drop(guard);
        scratch.clear();
        gateway.put_scratch(py, scratch);
        if result.is_err() {
            Self::lose_client(this)?;
        } else {
            Self::transmit(this, &out)?;
            if is_over {
                Self::finish(this)?;
            }
        }
        receivers.wake(py)
    }

    pub(super) fn on_event(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let py = this.py();
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        connection.unread |= readiness.can_read();
        let mut is_broken = readiness.is_broken();
        let mut senders = Sleepers::default();
        if !is_broken && readiness.can_write() && !connection.output.is_empty() {
            match flush(connection, this.get().gateway.write_ms()) {
                Ok(true) => senders = state.waiters.take(Awaited::Room),
                Ok(false) => {}
                Err(_) => is_broken = true,
            }
        }
        // Before the handshake nothing is expected but the end.
        is_broken |= readiness.has_ended() && matches!(state.phase, Phase::Connecting(_));
        drop(guard);
        if is_broken {
            // What the client said before it went is still there.
            Self::read(this)?;
            return Self::lose_client(this);
        }
        senders.wake(py)?;
        Self::read(this)
    }

    /// Nothing can be sent any more.
    fn lose_client(this: &Bound<'_, Self>) -> PyResult<()> {
        let mut state = this.get().state.borrow(this.py());
        if state.connection.is_none() {
            return Ok(());
        }
        state.end.get_or_insert((close::ABNORMAL, String::new()));
        drop(state);
        Self::finish(this)
    }

    /// The connection is done with; who waits is told.
    fn finish(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let sleepers = state.waiters.take_all();
        let Some(connection) = state.connection.take() else {
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
        let (has_end, timed_out) = (state.end.is_some(), state.timed_out);
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
        this.get().state.borrow(py).denial.clear();
        if let Err(error) = Self::deny(this, 500) {
            // The client was gone before.
            drop(error);
        }
    }
}

impl State {
    /// The open WebSocket: an error when it is not, or when the client is gone.
    pub(super) fn open(&mut self) -> PyResult<&mut WebSocket> {
        if self.end.is_some() || self.connection.is_none() {
            return Err(gone());
        }
        match &mut self.phase {
            Phase::Open(open) => Ok(open),
            Phase::Connecting(_) | Phase::Denied => Err(PyRuntimeError::new_err(
                "websocket.accept comes before websocket.send",
            )),
        }
    }

    /// Receives and decodes until there is nothing more, or enough. Answers of the protocol go to `out`.
    fn read(&mut self, py: Python<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        let Phase::Open(open) = &mut self.phase else {
            return Ok(());
        };
        loop {
            // A client that does not read its answers is not read either.
            let is_blocked = self
                .connection
                .as_ref()
                .is_none_or(|connection| !connection.output.is_empty());
            if self.inbox.is_full() || open.is_over() || is_blocked {
                return Ok(());
            }
            scratch.clear();
            scratch.append(&mut self.rest);
            let before = scratch.len();
            let mut has_ended = false;
            if let Some(connection) = self
                .connection
                .as_mut()
                .filter(|connection| connection.unread)
            {
                scratch.reserve(RECEIVE_BYTES);
                match connection.receive_into(scratch) {
                    Ok(0) => has_ended = true,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        connection.unread = false;
                    }
                    Err(error) => return Err(error),
                }
            }
            let now = Instant::now();
            let mut consumed = 0;
            let mut has_event = false;
            while !self.inbox.is_full() {
                let received = open.receive(&mut scratch[consumed..], now, out);
                consumed += received.consumed;
                match received.event {
                    None => break,
                    Some(Event::Text(text)) => self.inbox.push_text(py, text),
                    Some(Event::Binary(data)) => self.inbox.push_bytes(py, data),
                    Some(Event::Ping(_) | Event::Pong(_)) => {}
                    Some(Event::Closed { code, reason }) => {
                        self.end.get_or_insert((code, reason.to_owned()));
                    }
                    Some(Event::Failed(failure)) => {
                        self.end
                            .get_or_insert((failure.code, failure.detail.to_owned()));
                    }
                }
                has_event = true;
            }
            self.rest.extend_from_slice(&scratch[consumed..]);
            if has_ended {
                if let Some(connection) = &mut self.connection {
                    connection.unread = false;
                    connection.end_was_read = true;
                }
                if let Some(Event::Failed(failure)) = open.end() {
                    self.end
                        .get_or_insert((failure.code, failure.detail.to_owned()));
                }
                return Ok(());
            }
            if scratch.len() == before && !has_event {
                return Ok(());
            }
        }
    }
}

fn message<'py>(py: Python<'py>, kind: &'static str) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "type"), PyString::intern(py, kind))?;
    Ok(dict)
}
