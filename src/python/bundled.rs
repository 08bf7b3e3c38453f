//! The parts of the engine that are written in Python.

use std::ffi::CString;

use pyo3::{prelude::*, types::PyModule};

/// Runs the source of `name.py` and gives the module.
///
/// Its name is in angle brackets, as that of code without a file: coverage.py would measure it, and then look for a file
/// that is nowhere; debuggers would step into it.
pub(super) fn module<'py>(
    py: Python<'py>,
    name: &str,
    source: &str,
) -> PyResult<Bound<'py, PyModule>> {
    let text = |text: String| CString::new(text).expect("has no NUL");
    PyModule::from_code(
        py,
        &text(source.to_owned()),
        &text(format!("<rgunicorn/{name}.py>")),
        &text(format!("_rgunicorn_{name}")),
    )
}
