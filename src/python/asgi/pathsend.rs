//! Whether an app is offered `http.response.pathsend`; see `pathsend.py`.

use pyo3::prelude::*;

use crate::python::bundled;

/// Once the app has started up: from then on Starlette takes no more middleware.
pub(super) fn is_offered(py: Python<'_>, app: &Py<PyAny>) -> PyResult<bool> {
    let glue = bundled::module(py, "pathsend", include_str!("pathsend.py"))?;
    // Objects may do as they please when they are looked at.
    let answer = glue.call_method1("may_send_paths", (app,));
    Ok(answer.and_then(|answer| answer.extract()).unwrap_or(false))
}
