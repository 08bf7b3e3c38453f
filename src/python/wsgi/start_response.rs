//! `start_response(status, headers, exc_info=None)` and the `write` it returns, PEP 3333.
//!
//! Status and fields are checked and encoded right away, so that the app gets the exception where it made the mistake.

use std::{ffi::CStr, sync::Arc};

use pyo3::{
    exceptions::{PyAssertionError, PyTypeError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use super::call::{Call, State};
use crate::{
    http::{field, response},
    python::ffi::{self, Behaviour, Builtin},
};

pub(super) struct StartResponse;

impl Builtin for StartResponse {
    type This = Call;
    const NAME: &'static CStr = c"start_response";
    const PARAMETERS: &'static [&'static str] = &["status", "headers", "exc_info"];
    const DOC: &'static CStr =
        c"start_response(status, headers, exc_info=None)\n\nBegin the response; see PEP 3333.";
    const BEHAVIOUR: Behaviour<Call> = start_response;
}

pub(super) struct Write;

impl Builtin for Write {
    type This = Call;
    const NAME: &'static CStr = c"write";
    const DOC: &'static CStr = c"write(data)\n\nSend a part of the body; see PEP 3333.";
    const BEHAVIOUR: Behaviour<Call> = write;
}

fn start_response(
    call: &Bound<'_, Call>,
    arguments: &[Borrowed<'_, '_, PyAny>],
) -> PyResult<Py<PyAny>> {
    let (status, headers, exc_info) = match arguments {
        [status, headers] => (*status, *headers, None),
        [status, headers, exc_info] if exc_info.is_none() => (*status, *headers, None),
        [status, headers, exc_info] => (*status, *headers, Some(*exc_info)),
        _ => {
            return Err(PyTypeError::new_err(
                "start_response takes a status, headers and exc_info",
            ));
        }
    };
    let py = call.py();
    let mut state = call.get().state(py);
    if state.connection.is_none() {
        return Err(PyAssertionError::new_err(
            "start_response was called after its request had ended",
        ));
    }
    if let Some(exc_info) = exc_info {
        if state.head_is_sent() {
            drop(state);
            return Err(raised(&exc_info)?);
        }
        state.forget_response();
    } else if state.started {
        return Err(PyAssertionError::new_err(
            "start_response was called twice without exc_info",
        ));
    }
    state.begin_head(status)?;
    state.add_fields(&headers)?;
    let write = state.write.as_ref().map(|write| write.clone_ref(py));
    Ok(write.unwrap_or_else(|| py.None()))
}

/// The exception of an `exc_info` triple.
fn raised(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let exception = exc_info.get_item(1)?;
    let traceback = exc_info.get_item(2)?;
    Ok(PyErr::from_value(
        exception.call_method1("with_traceback", (traceback,))?,
    ))
}

impl State {
    fn begin_head(&mut self, status: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
        let text = latin1_text(status, "the status")?;
        let Some((code, _)) = field::parse_status(&text) else {
            let shown = status.repr()?;
            return Err(PyValueError::new_err(format!(
                "the status must be three digits and a reason, as in '200 OK', not {shown}"
            )));
        };
        if code < 200 {
            return Err(PyValueError::new_err(
                "the status of a response is 200 or higher",
            ));
        }
        self.started = true;
        self.status = code;
        response::write_status_line(&mut self.head.lines, &text);
        Ok(())
    }

    fn add_fields(&mut self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(count) = ffi::list_len(headers) else {
            let kind = headers.get_type();
            return Err(self.refuse(PyTypeError::new_err(format!(
                "headers must be a list, not {kind}"
            ))));
        };
        for index in 0..count {
            let item = ffi::list_item(headers, index);
            let Some((name, value)) = item.and_then(ffi::pair) else {
                return Err(self.refuse(PyTypeError::new_err(
                    "each header must be a tuple of a name and a value",
                )));
            };
            if let Err(error) = self.add_field(name, value) {
                return Err(self.refuse(error));
            }
        }
        Ok(())
    }

    /// A head with a fault was not begun.
    fn refuse(&mut self, error: PyErr) -> PyErr {
        self.forget_response();
        error
    }

    fn add_field(
        &mut self,
        name: Borrowed<'_, '_, PyAny>,
        value: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        let (name, value) = (
            latin1_text(name, "a header's name")?,
            latin1_text(value, "a header's value")?,
        );
        self.head
            .add_field(&name, &value)
            .map_err(PyValueError::new_err)
    }
}

/// A `str` as latin-1, which is what PEP 3333 lets it hold.
fn latin1_text<'a>(
    object: Borrowed<'a, '_, PyAny>,
    what: &str,
) -> PyResult<std::borrow::Cow<'a, [u8]>> {
    let Some(utf8) = ffi::text(object) else {
        let kind = object.get_type();
        return Err(PyTypeError::new_err(format!(
            "{what} must be a str, not {kind}"
        )));
    };
    if utf8.is_ascii() {
        return Ok(utf8.into());
    }
    let text = String::from_utf8_lossy(utf8);
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    match bytes {
        Some(bytes) => Ok(bytes.into()),
        None => Err(PyValueError::new_err(format!(
            "{what} has characters beyond latin-1"
        ))),
    }
}

fn write(call: &Bound<'_, Call>, arguments: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let py = call.py();
    let [data] = arguments else {
        return Err(PyTypeError::new_err("write takes one bytes object"));
    };
    let Ok(data) = data.cast::<PyBytes>() else {
        return Err(PyTypeError::new_err(format!(
            "write takes bytes, not {}",
            data.get_type()
        )));
    };
    let mut state = call.get().state(py);
    if state.connection.is_none() || !state.started {
        return Err(PyAssertionError::new_err(
            "write was called outside its request",
        ));
    }
    if state.is_complete {
        return Err(PyAssertionError::new_err(
            "write was called after the end of the response",
        ));
    }
    if state.may_answer() {
        // A client that is gone is noticed at the end; the app may have work to finish.
        let sent = state.send_part(py, data.as_bytes());
        sent.unwrap_or_else(|_| state.give_up());
    }
    let queued_at = state.queued_at();
    let desk = Arc::clone(&state.desk);
    drop(state);
    if let Some(token) = queued_at {
        desk.wait_for_room(py, token)?;
    }
    Ok(py.None())
}
