//! `wsgi.early_hints(headers)`: an interim `103 Early Hints` response, RFC 8297, as Gunicorn offers it.

use std::ffi::CStr;

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
};

use super::call::Call;
use crate::{
    http::{Version, field, response},
    python::ffi::{Behaviour, Builtin, HeldCell},
};

/// Bound to the callable in the environ, which outlives calls: it speaks for the call that its seat is in.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Hints {
    pub(super) call: HeldCell<Option<Py<Call>>>,
}

pub(super) struct EarlyHints;

impl Builtin for EarlyHints {
    type This = Hints;
    const NAME: &'static CStr = c"early_hints";
    const DOC: &'static CStr =
        c"early_hints(headers)\n\nSend an interim 103 response, may be called several times.";
    const BEHAVIOUR: Behaviour<Hints> = early_hints;
}

fn early_hints(
    hints: &Bound<'_, Hints>,
    arguments: &[Borrowed<'_, '_, PyAny>],
) -> PyResult<Py<PyAny>> {
    let py = hints.py();
    let [headers] = arguments else {
        return Err(PyTypeError::new_err("early_hints takes a list of headers"));
    };
    let mut fields = Vec::new();
    for header in headers.try_iter()? {
        let (name, value): (String, String) = header?.extract()?;
        if !field::is_token(name.as_bytes())
            || !value.is_ascii()
            || !field::is_field_value(value.as_bytes())
        {
            return Err(PyValueError::new_err(format!(
                "{name:?} is no valid header"
            )));
        }
        if !field::is_hop_by_hop(name.as_bytes()) {
            fields.push((name, value));
        }
    }
    let call = hints
        .get()
        .call
        .borrow(py)
        .as_ref()
        .map(|call| call.clone_ref(py));
    let Some(call) = call else {
        return Ok(py.None());
    };
    let mut state = call.get().state.borrow(py);
    let speaks_http_11 = state
        .connection
        .as_ref()
        .is_some_and(|connection| connection.head().version == Version::Http11);
    if speaks_http_11 && !state.head_is_sent() && !state.desk.was_answered() {
        let mut interim = Vec::new();
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        response::write_early_hints(&mut interim, fields);
        state.send_interim(&interim);
    }
    Ok(py.None())
}
