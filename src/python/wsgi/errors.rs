//! `wsgi.errors`: what the app writes goes to the error log as it is.

use pyo3::prelude::*;

#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Errors;

#[pymethods]
impl Errors {
    /// Writes text, whole; returns the number of characters.
    fn write(&self, py: Python<'_>, text: &str) -> usize {
        py.detach(|| crate::telemetry::raw(text));
        text.chars().count()
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, line?.extract()?);
        }
        Ok(())
    }

    /// Only what is written line by line is held back until a line is complete.
    fn flush(&self, py: Python<'_>) {
        py.detach(crate::telemetry::flush_raw);
    }
}
