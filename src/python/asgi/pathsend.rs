//! Whether an app is offered `http.response.pathsend`; see `pathsend.py`.

use std::ffi::CString;

use pyo3::{ffi::c_str, prelude::*, types::PyModule};

/// Once the app has started up: from then on Starlette takes no more middleware.
pub(super) fn is_offered(py: Python<'_>, app: &Py<PyAny>) -> PyResult<bool> {
    let source = CString::new(include_str!("pathsend.py")).expect("has no NUL");
    let (file, name) = (
        c_str!("rgunicorn/pathsend.py"),
        c_str!("_rgunicorn_pathsend"),
    );
    let glue = PyModule::from_code(py, &source, file, name)?;
    // Objects may do as they please when they are looked at.
    let answer = glue.call_method1("may_send_paths", (app,));
    Ok(answer.and_then(|answer| answer.extract()).unwrap_or(false))
}
