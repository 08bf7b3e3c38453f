//! Up to the app's decision: a WebSocket is accepted, denied in any of several ways, or given up.

use std::time::Instant;

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    intern,
    prelude::*,
};

use super::{Phase, Socket, State};
use crate::{
    http::{RequestTraits, Version, date, response},
    python::asgi::{client::gone, gateway::Gateway, outcome::Outcome, send::Fields},
    sys,
    websocket::{Opening, WebSocket, close, handshake::Rejection},
    worker::{Answered, Connection, log_answered},
};

/// The app did not decide in time.
const GATEWAY_TIMEOUT: u16 = 504;

impl Socket {
    /// Answers a request for a WebSocket that does not keep the rules.
    pub(in crate::python::asgi) fn reject(
        gateway: &Gateway,
        mut connection: Box<Connection>,
        rejection: &Rejection,
    ) {
        let mut answer = Vec::new();
        let ids = &gateway.hub.station.request_ids;
        let date = date::format(sys::unix_seconds());
        let is_head = connection.is_head();
        let body_bytes = rejection.write_answer(&mut answer, &date, is_head, |head| {
            ids.write_field(&connection, head);
        });
        connection.output.push_bytes(&answer);
        let answered = Answered {
            status: rejection.0.status,
            bytes: body_bytes as u64,
            head: &answer[..answer.len() - body_bytes],
            environ: &[],
        };
        log_answered(&gateway.hub.station, &connection, &answered);
        connection.unread |= connection.awaits_body();
        gateway.hub.finish(connection, true, rejection.0.status);
    }

    /// The app accepts: from here on frames are spoken.
    pub(in crate::python::asgi) fn accept(
        this: &Bound<'_, Self>,
        subprotocol: Option<&str>,
        fields: &Fields<'_>,
    ) -> PyResult<()> {
        let py = this.py();
        let mut out = Vec::new();
        let mut state = this.get().state.borrow(py);
        let opening = state.undecided()?;
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        opening
            .write_acceptance(subprotocol, fields, &mut out)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let settings = &this.get().gateway.socket_settings;
        let open = WebSocket::new(settings, opening.deflate(), Instant::now());
        state.phase = Phase::Open(Box::new(open));
        this.get().gateway.hub.count_opened();
        if let Some(connection) = &mut state.connection {
            let ids = &this.get().gateway.hub.station.request_ids;
            ids.write_field(connection, &mut out);
            let surplus = connection.take_surplus();
            state.rest = surplus.into();
        }
        drop(state);
        response::write_head_end(&mut out);
        Self::transmit(this, &out);
        Self::read(this)
    }

    /// Answers in place of a WebSocket.
    pub(in crate::python::asgi) fn deny(this: &Bound<'_, Self>, status: u16) -> PyResult<()> {
        let mut state = this.get().state.borrow(this.py());
        state.undecided()?;
        state.outcome = Outcome::default();
        state.denial.clear();
        state.outcome.begin(status);
        drop(state);
        Self::finish_denial(this)
    }

    pub(in crate::python::asgi) fn finish_denial(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        let traits = RequestTraits {
            version: Version::Http11,
            is_head: false,
            // A proxy that takes the connection for a tunnel, whatever was answered, must not carry requests past its rules.
            persistent: false,
        };
        let length = state.denial.len();
        state
            .outcome
            .count(traits, length, true)
            .map_err(PyRuntimeError::new_err)?;
        let ids = &gateway.hub.station.request_ids;
        ids.write_field(connection, &mut state.outcome.head.lines);
        gateway.complete_head(py, &mut state.outcome, traits, Some(length as u64));
        connection.output.push_bytes(&state.outcome.head.lines);
        connection.output.push_bytes(&state.denial);
        state.phase = Phase::Denied;
        state.end.note(close::ABNORMAL, "");
        drop(guard);
        Self::finish(this)
    }

    /// `timeouts.request` is over and the app has not decided: answers in its place and cancels its task. An open
    /// WebSocket has no such limit; it is meant to last.
    pub(super) fn time_out(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        state.timed_out = true;
        let ids = &this.get().gateway.hub.station.request_ids;
        let (id, request) = ids.name(state.connection.as_deref());
        let task = state.task.as_ref().map(|task| task.clone_ref(py));
        drop(state);
        Self::deny(this, GATEWAY_TIMEOUT)?;
        py.detach(|| {
            crate::error!("{id}cancelled after timeouts.request: the WebSocket of {request}");
        });
        match task {
            Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }
}

impl State {
    /// The handshake's request, while the app has not decided about it.
    pub(in crate::python::asgi) fn undecided(&mut self) -> PyResult<&mut Opening> {
        match &mut self.phase {
            Phase::Connecting(_) if self.connection.is_none() => Err(gone()),
            Phase::Connecting(opening) => Ok(opening),
            Phase::Open(_) | Phase::Denied => Err(PyRuntimeError::new_err(
                "the WebSocket was accepted or denied already",
            )),
        }
    }
}
