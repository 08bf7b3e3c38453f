//! `receive()` and `send(message)`, ASGI's HTTP specification. What `send` is given is checked right away, so that the app
//! gets the exception where it made the mistake; what the socket does not take is waited for.

use std::{
    ffi::CStr,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString},
};

use super::{
    awaitable::{Awaited, Wait},
    client::has_room,
    exchange::Exchange,
    outcome::Outcome,
    party::Party,
    piece::Piece,
};
use crate::{
    http::response,
    python::{
        copy,
        ffi::{self, Behaviour, Builtin},
    },
    sys::{self, net},
};

pub(super) struct Receive;

impl Builtin for Receive {
    type This = Exchange;
    const NAME: &'static CStr = c"receive";
    const DOC: &'static CStr = c"receive()\n\nThe next message of the client; see ASGI.";
    const BEHAVIOUR: Behaviour<Exchange> = receive;
}

pub(super) struct Send;

impl Builtin for Send {
    type This = Exchange;
    const NAME: &'static CStr = c"send";
    const DOC: &'static CStr = c"send(message)\n\nA part of the response; see ASGI.";
    const BEHAVIOUR: Behaviour<Exchange> = send;
}

fn receive(exchange: &Bound<'_, Exchange>, _: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let party = Party::Request(exchange.clone().unbind());
    Wait::for_app(exchange.py(), party, Awaited::Message)
}

fn send(
    exchange: &Bound<'_, Exchange>,
    arguments: &[Borrowed<'_, '_, PyAny>],
) -> PyResult<Py<PyAny>> {
    let py = exchange.py();
    copy::end_if_copy(py, None);
    let (message, kind) = only_message(arguments)?;
    match kind.to_str()? {
        "http.response.body" => send_body(exchange, message)?,
        "http.response.start" => start(exchange, message)?,
        "http.response.pathsend" => send_path(exchange, message)?,
        "http.response.early_hint" => send_hints(exchange, message)?,
        // For test clients, which look at it in the process; over the wire nothing of it goes.
        "http.response.debug" => {}
        other => {
            return Err(PyValueError::new_err(format!(
                "{other:?} is no message that an HTTP response may have"
            )));
        }
    }
    if !has_room(exchange.get().state.borrow(py).connection.as_deref()) {
        let party = Party::Request(exchange.clone().unbind());
        return Wait::for_app(py, party, Awaited::Room);
    }
    Ok(exchange.get().gateway.done(py))
}

/// The message that `send` was given, and its type.
pub(super) fn only_message<'a, 'py>(
    arguments: &'a [Borrowed<'a, 'py, PyAny>],
) -> PyResult<(&'a Bound<'py, PyDict>, Bound<'py, PyString>)> {
    let [message] = arguments else {
        return Err(PyTypeError::new_err("send takes one message"));
    };
    let message = (**message).cast::<PyDict>()?;
    let kind = required(message, intern!(message.py(), "type"))?;
    Ok((message, kind.cast_into::<PyString>()?))
}

/// Whether the body goes on after this message.
pub(super) fn has_more(message: &Bound<'_, PyDict>) -> PyResult<bool> {
    match message.get_item(intern!(message.py(), "more_body"))? {
        Some(more) => more.is_truthy(),
        None => Ok(false),
    }
}

fn required<'py>(
    message: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    message
        .get_item(key)?
        .ok_or_else(|| PyValueError::new_err(format!("the message has no {key:?}")))
}

fn start(exchange: &Bound<'_, Exchange>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = exchange.py();
    let status = status(message)?;
    let fields = fields(message)?;
    let mut state = exchange.get().state.borrow(py);
    state.open()?;
    begin(&mut state.outcome, status, &fields)?;
    state.say_request_id(&exchange.get().gateway.hub.station.request_ids);
    Ok(())
}

/// Begins a response with the app's fields.
pub(super) fn begin(outcome: &mut Outcome, status: u16, fields: &Fields<'_>) -> PyResult<()> {
    if outcome.has_begun() {
        return Err(PyRuntimeError::new_err("the response has begun already"));
    }
    outcome.begin(status);
    for (name, value) in fields {
        if let Err(fault) = outcome.head.add_field(name.as_bytes(), value.as_bytes()) {
            // A head with a fault was not begun.
            *outcome = Outcome::default();
            return Err(PyValueError::new_err(fault));
        }
    }
    Ok(())
}

/// Names and values.
pub(super) type Fields<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;

/// The headers of a message.
pub(super) fn fields<'py>(message: &Bound<'py, PyDict>) -> PyResult<Fields<'py>> {
    let Some(headers) = message.get_item(intern!(message.py(), "headers"))? else {
        return Ok(Vec::new());
    };
    if let Some(fields) = plain_fields(&headers) {
        return Ok(fields);
    }
    let mut fields = Vec::new();
    for header in headers.try_iter()? {
        let header = header?;
        fields.push((
            into_bytes(header.get_item(0)?, "a header's name")?,
            into_bytes(header.get_item(1)?, "a header's value")?,
        ));
    }
    Ok(fields)
}

/// What nearly all apps give: a list of tuples of `bytes`. `None` for anything else that can be iterated.
fn plain_fields<'py>(headers: &Bound<'py, PyAny>) -> Option<Fields<'py>> {
    let count = ffi::list_len(headers)?;
    let mut fields = Vec::with_capacity(count);
    for index in 0..count {
        let (name, value) = ffi::pair(ffi::list_item(headers, index)?)?;
        fields.push((
            name.cast::<PyBytes>().ok()?.to_owned(),
            value.cast::<PyBytes>().ok()?.to_owned(),
        ));
    }
    Some(fields)
}

/// The status of a response.
pub(super) fn status(message: &Bound<'_, PyDict>) -> PyResult<u16> {
    let status: u16 = required(message, intern!(message.py(), "status"))?.extract()?;
    match status {
        200..=999 => Ok(status),
        _ => Err(PyValueError::new_err(
            "the status of a response is from 200 to 999",
        )),
    }
}

fn send_body(exchange: &Bound<'_, Exchange>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = exchange.py();
    let body = match message.get_item(intern!(py, "body"))? {
        Some(body) => into_bytes(body, "a body")?,
        None => PyBytes::new(py, b""),
    };
    let more = has_more(message)?;
    let gateway = &exchange.get().gateway;
    let mut guard = exchange.get().state.borrow(py);
    let state = &mut *guard;
    state.open()?;
    if !state.outcome.has_begun() {
        return Err(PyRuntimeError::new_err(
            "http.response.start comes before http.response.body",
        ));
    }
    if !more && !state.outcome.head_is_sent() {
        state.skip_body();
    }
    let bytes = body.as_bytes();
    let traits = state.traits(gateway.hub.station.may_persist());
    state
        .outcome
        .count(traits, bytes.len(), !more)
        .map_err(PyRuntimeError::new_err)?;
    let is_first = !state.outcome.head_is_sent();
    let shape = match state.outcome.shape {
        Some(shape) => shape,
        None => {
            let length = (!more).then_some(bytes.len() as u64);
            gateway.complete_head(py, &mut state.outcome, traits, length)
        }
    };
    if !shape.send_body {
        state.outcome.body_bytes = 0;
    }
    let piece = Piece {
        shape,
        body: &body,
        is_first,
        is_last: !more,
    };
    let sent = piece.send(gateway, state)?;
    drop(guard);
    match sent {
        Ok(()) if more => Ok(()),
        Ok(()) => Exchange::finish(exchange, false),
        Err(_) => Exchange::lose_client(exchange),
    }
}

/// The head of a response waits for the first part of its body, so that an app that fails at that gets its 500. Where there is none for a
/// second or two, as with an event stream that has no event yet, the head goes out alone: clients and proxies wait for it.
pub(super) fn send_waiting_head(exchange: &Bound<'_, Exchange>) -> PyResult<()> {
    let py = exchange.py();
    let gateway = &exchange.get().gateway;
    let mut guard = exchange.get().state.borrow(py);
    let state = &mut *guard;
    let outcome = &state.outcome;
    let is_waiting = outcome.has_begun() && !outcome.head_is_sent();
    // A length announces a body that comes as a whole, or a file that is sent by its path.
    if !is_waiting || outcome.head.content_length.is_some() || state.connection.is_none() {
        return Ok(());
    }
    if !std::mem::replace(&mut state.head_has_waited, true) {
        return Ok(());
    }
    let traits = state.traits(gateway.hub.station.may_persist());
    let piece = Piece {
        shape: gateway.complete_head(py, &mut state.outcome, traits, None),
        body: &PyBytes::new(py, b""),
        is_first: true,
        is_last: false,
    };
    let sent = piece.send(gateway, state)?;
    drop(guard);
    match sent {
        Ok(()) => Ok(()),
        Err(_) => Exchange::lose_client(exchange),
    }
}

/// The whole body is a file: the reactor sends it without the app and without the interpreter.
fn send_path(exchange: &Bound<'_, Exchange>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = exchange.py();
    let path: PathBuf = required(message, intern!(py, "path"))?.extract()?;
    let (file, length) = py.detach(|| open_regular(&path))?;
    let gateway = &exchange.get().gateway;
    let mut guard = exchange.get().state.borrow(py);
    let state = &mut *guard;
    state.open()?;
    if !state.outcome.has_begun() || state.outcome.head_is_sent() {
        return Err(PyRuntimeError::new_err(
            "http.response.pathsend comes once, right after http.response.start",
        ));
    }
    // The file may have grown since the app looked at it.
    let length = length.min(state.outcome.head.content_length.unwrap_or(u64::MAX));
    let count = usize::try_from(length).unwrap_or(usize::MAX);
    let traits = state.traits(gateway.hub.station.may_persist());
    state
        .outcome
        .count(traits, count, true)
        .map_err(PyRuntimeError::new_err)?;
    let shape = gateway.complete_head(py, &mut state.outcome, traits, Some(length));
    if !shape.send_body {
        state.outcome.body_bytes = 0;
    }
    let head = state.outcome.head.lines.clone();
    let connection = state.open()?;
    connection.output.push_bytes(&head);
    if shape.send_body && length > 0 {
        connection.output.push_file(file, 0, length);
    }
    drop(guard);
    Exchange::finish(exchange, false)
}

/// A regular file, and its length.
fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let file = sys::open_file(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(io::ErrorKind::IsADirectory.into()),
    }
}

/// An interim response with Link fields, RFC 8297; HTTP/1.0 clients do not know them.
fn send_hints(exchange: &Bound<'_, Exchange>, message: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = exchange.py();
    let mut links = Vec::new();
    if let Some(values) = message.get_item(intern!(py, "links"))? {
        for link in values.try_iter()? {
            let link = into_bytes(link?, "a link")?;
            if !crate::http::field::is_field_value(link.as_bytes()) {
                return Err(PyValueError::new_err("a link has a control character"));
            }
            links.push(link);
        }
    }
    let mut state = exchange.get().state.borrow(py);
    if state.outcome.head_is_sent() {
        return Err(PyRuntimeError::new_err(
            "early hints come before the response",
        ));
    }
    let connection = state.open()?;
    if links.is_empty() || connection.head().version == crate::http::Version::Http10 {
        return Ok(());
    }
    let mut hints = Vec::new();
    let fields = links.iter().map(|link| (&b"link"[..], link.as_bytes()));
    response::write_early_hints(&mut hints, fields);
    let sent = match connection.output.is_empty() {
        true => net::taken(connection.send(&hints, net::Next::Unknown)).unwrap_or(hints.len()),
        false => 0,
    };
    connection.output.push_bytes(&hints[sent..]);
    Ok(())
}

/// `bytes`, or what the like of it holds.
pub(super) fn into_bytes<'py>(
    object: Bound<'py, PyAny>,
    what: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let object = match object.cast_into::<PyBytes>() {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error.into_inner(),
    };
    if let Ok(array) = object.cast::<PyByteArray>() {
        return Ok(PyBytes::new(object.py(), &array.to_vec()));
    }
    if object.is_instance_of::<PyMemoryView>() {
        let bytes = object.call_method0(intern!(object.py(), "tobytes"))?;
        return Ok(bytes.cast_into::<PyBytes>()?);
    }
    let kind = object.get_type();
    Err(PyTypeError::new_err(format!(
        "{what} must be bytes, not {kind}"
    )))
}
