//! The error log, as a function for our own Python code.

use pyo3::{prelude::*, types::PyCFunction};

use crate::config::LogLevel;

/// `say(level, text)`: a text of several lines goes to the log as one block. `who` is the beginning of its lines.
pub(super) fn function<'py>(py: Python<'py>, who: &str) -> PyResult<Bound<'py, PyCFunction>> {
    let who = who.to_owned();
    PyCFunction::new_closure(py, None, None, move |arguments, _| {
        let (level, text): (String, String) = arguments.extract()?;
        let level = match level.as_str() {
            "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warning" => LogLevel::Warning,
            "critical" => LogLevel::Critical,
            _ => LogLevel::Error,
        };
        arguments.py().detach(|| match text.split_once('\n') {
            Some((headline, block)) => {
                crate::telemetry::block(level, format_args!("{who} {headline}"), block);
            }
            None => crate::telemetry::line(level, format_args!("{who} {text}")),
        });
        PyResult::Ok(())
    })
}
