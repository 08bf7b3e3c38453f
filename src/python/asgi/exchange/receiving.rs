//! What the app is told of a request after its head: the body as it comes, and that the client is gone.

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{Exchange, Intake, State};
use crate::{
    http::{Refusal, response},
    sys::{self, net},
    worker::{Arrival, Body},
};

/// Bytes of a body that the app did not ask for which are read to keep the connection.
const SKIPPED_BYTES_MAX: usize = 64 * 1024;

impl Exchange {
    /// The next message, if there is one.
    pub(in crate::python::asgi) fn poll_receive(
        this: &Bound<'_, Self>,
    ) -> PyResult<Option<Py<PyAny>>> {
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
            Body::Inline(length) => PyBytes::new(py, connection.inline_body(*length)),
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
}

impl State {
    /// Drops what has come of a body that the app did not ask for. With the end of its response nobody will, and the connection
    /// can be kept where that is all of it.
    pub(in crate::python::asgi) fn skip_body(&mut self) {
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
        self.body_due_ms = sys::monotonic_ms() + body_ms;
        if !head_is_sent && connection.output.is_empty() && connection.take_continue() {
            // A socket that does not take 25 bytes belongs to a client that does not read: it will not send either.
            let _ = connection.send(response::CONTINUE, net::Next::Unknown);
        }
    }
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
