//! `log.python_config`: how Python's `logging` is set up before the app is imported.

use std::path::Path;

use pyo3::{ffi::c_str, prelude::*, types::PyModule};

/// Reads the file and applies it. Exceptions are Python's own: they say what is wrong with the file.
pub(super) fn configure(py: Python<'_>, file: &Path) -> PyResult<()> {
    let source = std::ffi::CString::new(include_str!("logging.py")).expect("has no NUL");
    let glue = PyModule::from_code(
        py,
        &source,
        c_str!("rgunicorn/logging.py"),
        c_str!("_rgunicorn_logging"),
    )?;
    glue.call_method1("configure", (file.as_os_str(),))
        .map(drop)
}
