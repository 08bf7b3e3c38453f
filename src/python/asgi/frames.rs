//! `receive()` and `send(message)` of a WebSocket, ASGI's WebSocket specification.

use std::ffi::CStr;

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use super::{
    awaitable::{Awaited, Wait},
    party::Party,
    send::{Fields, begin, fields, has_more, into_bytes, only_message, status},
    socket::{Phase, Socket, closed_by_app},
};
use crate::{
    python::{
        copy,
        ffi::{Behaviour, Builtin},
    },
    websocket::{CloseError, WebSocket},
    wire::Count,
};

pub(super) struct ReceiveFrame;

impl Builtin for ReceiveFrame {
    type This = Socket;
    const NAME: &'static CStr = c"websocket.receive";
    const DOC: &'static CStr = c"receive()\n\nThe next message of the client; see ASGI.";
    const BEHAVIOUR: Behaviour<Socket> = receive;
}

pub(super) struct SendFrame;

impl Builtin for SendFrame {
    type This = Socket;
    const NAME: &'static CStr = c"websocket.send";
    const DOC: &'static CStr = c"send(message)\n\nA message for the client; see ASGI.";
    const BEHAVIOUR: Behaviour<Socket> = send;
}

fn receive(socket: &Bound<'_, Socket>, _: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let party = Party::Socket(socket.clone().unbind());
    Wait::for_app(socket.py(), party, Awaited::Message)
}

fn send(socket: &Bound<'_, Socket>, arguments: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let py = socket.py();
    copy::end_if_copy(py, None);
    let (message, kind) = only_message(arguments)?;
    match kind.to_str()? {
        "websocket.send" => send_message(socket, message)?,
        "websocket.accept" => accept(socket, message)?,
        "websocket.close" => close(socket, message)?,
        "websocket.http.response.start" => deny(socket, message)?,
        "websocket.http.response.body" => deny_further(socket, message)?,
        other => {
            return Err(PyValueError::new_err(format!(
                "{other:?} is no message that a WebSocket may send"
            )));
        }
    }
    if !socket.get().has_room(py) {
        let party = Party::Socket(socket.clone().unbind());
        return Wait::for_app(py, party, Awaited::Room);
    }
    Ok(socket.get().gateway.done(py))
}

fn send_message(socket: &Bound<'_, Socket>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = socket.py();
    let text = message.get_item(intern!(py, "text"))?;
    let bytes = message.get_item(intern!(py, "bytes"))?;
    let given =
        |value: Option<Bound<'_, PyAny>>| value.filter(|value| !value.is_none()).map(Bound::unbind);
    match (given(text), given(bytes)) {
        (Some(text), None) => {
            let text = text.bind(py).cast::<PyString>()?.clone();
            let text = text.to_str()?;
            transmit(socket, |open, out| open.send_text(text, out))
        }
        (None, Some(bytes)) => {
            let bytes = into_bytes(bytes.into_bound(py), "a message")?;
            transmit(socket, |open, out| open.send_binary(bytes.as_bytes(), out))
        }
        _ => Err(PyValueError::new_err(
            "websocket.send has either text or bytes",
        )),
    }
}

fn transmit<E>(
    socket: &Bound<'_, Socket>,
    write: impl FnOnce(&mut WebSocket, &mut Vec<u8>) -> Result<(), E>,
) -> PyResult<()> {
    let mut out = Vec::new();
    let mut state = socket.get().state.borrow(socket.py());
    let written = write(state.open()?, &mut out);
    drop(state);
    match written {
        Ok(()) => {
            let hub = &socket.get().gateway.hub;
            hub.count_message(Count::MessagesSent);
            Socket::transmit(socket, &out);
            Ok(())
        }
        Err(_) => Err(PyRuntimeError::new_err("the WebSocket is closed")),
    }
}

fn accept(socket: &Bound<'_, Socket>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = socket.py();
    let subprotocol: Option<String> = match message.get_item(intern!(py, "subprotocol"))? {
        Some(subprotocol) => subprotocol.extract()?,
        None => None,
    };
    let fields: Fields<'_> = fields(message)?;
    Socket::accept(socket, subprotocol.as_deref(), &fields)
}

fn close(socket: &Bound<'_, Socket>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = socket.py();
    let code = match message.get_item(intern!(py, "code"))? {
        Some(code) if !code.is_none() => code.extract()?,
        _ => crate::websocket::close::NORMAL,
    };
    let reason: Option<String> = match message.get_item(intern!(py, "reason"))? {
        Some(reason) => reason.extract()?,
        None => None,
    };
    let state = socket.get().state.borrow(py);
    if state.is_closed_by_app {
        return Err(closed_by_app());
    }
    let is_undecided = matches!(state.phase, Phase::Connecting(_)) && state.connection.is_some();
    drop(state);
    if is_undecided {
        Socket::deny(socket, 403)?;
    } else if let Err(error @ CloseError::InvalidCode { .. }) =
        Socket::close(socket, code, reason.as_deref().unwrap_or_default())
    {
        return Err(PyValueError::new_err(error.to_string()));
    }
    // Where the client, or the worker that leaves, was first, that is no failure of an app that tidies up.
    socket.get().state.borrow(py).is_closed_by_app = true;
    Ok(())
}

fn deny(socket: &Bound<'_, Socket>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let status = status(message)?;
    let fields = fields(message)?;
    let mut state = socket.get().state.borrow(socket.py());
    state.undecided()?;
    begin(&mut state.outcome, status, &fields)
}

/// The answer is short, and goes out when it is complete.
fn deny_further(socket: &Bound<'_, Socket>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = socket.py();
    let body = match message.get_item(intern!(py, "body"))? {
        Some(body) => Some(into_bytes(body, "a body")?),
        None => None,
    };
    let more = has_more(message)?;
    let mut state = socket.get().state.borrow(py);
    state.undecided()?;
    if !state.outcome.has_begun() {
        return Err(PyRuntimeError::new_err(
            "websocket.http.response.start comes before websocket.http.response.body",
        ));
    }
    if let Some(body) = body {
        state.denial.extend_from_slice(body.as_bytes());
    }
    drop(state);
    match more {
        true => Ok(()),
        false => Socket::finish_denial(socket),
    }
}
