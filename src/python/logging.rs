//! `log.python_config`: how Python's `logging` is set up before the app is imported.

use std::path::Path;

use pyo3::prelude::*;

use super::bundled;

/// Reads the file and applies it. Exceptions are Python's own: they say what is wrong with the file.
pub(super) fn configure(py: Python<'_>, file: &Path) -> PyResult<()> {
    bundled::module(py, "logging", include_str!("logging.py"))?
        .call_method1("configure", (file.as_os_str(),))
        .map(drop)
}
