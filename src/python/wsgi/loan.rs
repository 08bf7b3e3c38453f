//! `gunicorn.socket`: the client's socket, lent to an app that speaks WebSocket on it itself.
//!
//! A request that asks for a WebSocket has it in its environ. Until the app first uses it (`lent_socket.py` tells), the
//! request is like any other and is answered by `start_response`. Then the socket is the app's until its call comes back:
//! nobody answers in its name, no time limit of a request holds, and the connection ends with the call. So the reactor and
//! the app never use a socket at the same time, and no request is read behind bytes that the app may have sent or read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::{
    exceptions::{PyBrokenPipeError, PyConnectionResetError, PyStopIteration},
    ffi::c_str,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyCFunction, PyModule},
};

use super::call::{Call, State};
use crate::{
    http::status::SWITCHING_PROTOCOLS,
    python::ffi,
    sys::{self, Lent},
    websocket::handshake,
    worker::Connection,
};

pub(super) struct Loan {
    /// No other has it.
    number: u64,
    socket: Py<PyAny>,
    _lent: Lent,
}

impl Loan {
    /// Lends the socket of a connection whose request is with the app. `None`: it does not ask for a WebSocket, or something has
    /// come behind it, which the server has read already.
    pub(super) fn begin(call: &Bound<'_, Call>, connection: &Connection) -> PyResult<Option<Self>> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        if !asks_for_websocket(connection) || connection.has_pipelined() {
            return Ok(None);
        }
        let py = call.py();
        let number = NUMBERS.fetch_add(1, Relaxed);
        let of_call = call.clone().unbind();
        let tell = PyCFunction::new_closure(py, None, None, move |arguments, _| {
            let py = arguments.py();
            of_call.get().state(py).let_take(number)
        })?;
        let lend = glue(py)?.getattr(intern!(py, "lend"))?;
        let (lent, descriptor) = Lent::of(connection.socket())?;
        let socket = lend.call1((descriptor, tell))?;
        Ok(Some(Self {
            number,
            socket: socket.unbind(),
            _lent: lent,
        }))
    }

    pub(super) fn socket<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.socket.bind(py)
    }

    /// The call is over. Of a socket that was taken, a thread of the app's may still wait for something to read: it sees the end
    /// when the connection ends, and the socket is its own to close. Whoever kept any other finds it closed. Nothing may be
    /// borrowed.
    pub(super) fn end(self, py: Python<'_>, is_taken: bool) {
        if is_taken && ffi::is_shared(py, &self.socket) {
            return;
        }
        let socket = self.socket.bind(py);
        let ended = glue(py).and_then(|glue| glue.call_method1(intern!(py, "end"), (socket,)));
        if let Err(error) = ended {
            error.write_unraisable(py, Some(socket));
        }
    }
}

impl State {
    /// The app uses the socket that it was lent under this number. An error: it comes too late.
    fn let_take(&mut self, number: u64) -> PyResult<()> {
        let is_lent = self.loan.as_ref().is_some_and(|loan| loan.number == number);
        let connection = self.connection.as_mut().filter(|_| is_lent);
        // A copy of the worker has no socket of clients.
        let Some(connection) = connection.filter(|_| !sys::is_copy()) else {
            return Err(PyBrokenPipeError::new_err("the request is over"));
        };
        if connection.is_taken {
            return Ok(());
        }
        if self.shape.is_some() {
            return Err(PyBrokenPipeError::new_err("the response has begun"));
        }
        if !self.desk.let_take(connection) {
            self.note_timed_out();
            return Err(PyBrokenPipeError::new_err(
                "the request was answered after timeouts.request",
            ));
        }
        Ok(())
    }

    /// The app has, or had, the socket: nothing is sent in its name.
    pub(super) fn is_taken(&self) -> bool {
        self.connection.as_ref().is_some_and(|it| it.is_taken)
    }

    /// What the app made of a response beside the socket is not sent. What it said on the socket nobody knows, but that is how it
    /// begins.
    pub(super) fn note_switched(&mut self) {
        self.forget_response();
        self.status = SWITCHING_PROTOCOLS;
        self.body_bytes = 0;
        self.must_close = true;
    }
}

/// Whether an exception is how a call with the socket ends: as Gunicorn's users say it, or because the client is gone.
pub(super) fn is_end(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyStopIteration>(py)
        || error.is_instance_of::<PyBrokenPipeError>(py)
        || error.is_instance_of::<PyConnectionResetError>(py)
}

fn asks_for_websocket(connection: &Connection) -> bool {
    let (head, bytes) = (connection.head(), connection.request_bytes());
    head.method(bytes) == b"GET" && head.framing.is_empty() && handshake::is_asked_for(head, bytes)
}

/// The functions of `lent_socket.py`.
fn glue(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static GLUE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = GLUE.get_or_try_init(py, || {
        let source = std::ffi::CString::new(include_str!("lent_socket.py")).expect("has no NUL");
        PyModule::from_code(
            py,
            &source,
            c_str!("rgunicorn/lent_socket.py"),
            c_str!("_rgunicorn_lent_socket"),
        )
        .map(Bound::unbind)
    })?;
    Ok(module.bind(py))
}
