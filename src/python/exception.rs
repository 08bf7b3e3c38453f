//! Exceptions as the error log tells of them: in one line, and with their traceback.

use pyo3::{exceptions::PyBlockingIOError, prelude::*};

use crate::{config::LogLevel, sys::TASK_LIMIT_HELP, telemetry};

/// Writes a headline with the exception's traceback below it.
pub(super) fn log(py: Python<'_>, level: LogLevel, headline: &str, error: &PyErr) {
    let traceback = traceback(py, error);
    py.detach(|| telemetry::block(level, format_args!("{headline}"), &traceback));
}

/// As Python itself would print it.
pub(super) fn traceback(py: Python<'_>, error: &PyErr) -> String {
    formatted(py, error).unwrap_or_else(|_| error.to_string())
}

/// The traceback is given apart: before 3.12 the exception does not know it yet.
fn formatted(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    py.import("traceback")?
        .call_method1(
            "format_exception",
            (error.get_type(py), error.value(py), error.traceback(py)),
        )?
        .try_iter()?
        .map(|line| line?.extract::<String>())
        .collect()
}

/// The line of a traceback that names the exception: the first that is not indented after the last frame. An exception's text may
/// have more.
pub(super) fn headline(traceback: &str) -> &str {
    let is_told = |line: &&str| !line.trim().is_empty();
    let after_frames = match traceback.rfind("\n  File ") {
        Some(at) => &traceback[at + 1..],
        None => traceback,
    };
    let named = after_frames
        .lines()
        .find(|line| is_told(line) && !line.starts_with(char::is_whitespace));
    named
        .or_else(|| traceback.lines().rfind(is_told))
        .unwrap_or("the app raised an exception")
        .trim()
}

/// The error in one line, with what to do where a limit of processes and threads stands behind it.
pub(super) fn in_one_line(py: Python<'_>, error: &PyErr) -> String {
    let text = error.to_string();
    let is_limit = error.is_instance_of::<PyBlockingIOError>(py)
        // Of `threading`, whatever the reason is.
        || text.ends_with("can't start new thread");
    match is_limit {
        true => format!("{text}, {TASK_LIMIT_HELP}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::headline;

    #[test]
    fn the_headline_of_a_traceback_names_the_exception() {
        for (traceback, expected) in [
            (
                "Traceback (most recent call last):\n  File \"app.py\", line 1, in <module>\n    f()\n    ^^^\n\
                 RuntimeError: no multipart\nInstall it with:\n\npip install multipart\n",
                "RuntimeError: no multipart",
            ),
            (
                "  File \"app.py\", line 1\n    a b\n      ^\nSyntaxError: invalid syntax\n",
                "SyntaxError: invalid syntax",
            ),
            (
                "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: two\n",
                "| ExceptionGroup: two",
            ),
            ("KeyError: 'x'\n", "KeyError: 'x'"),
            ("", "the app raised an exception"),
        ] {
            assert_eq!(headline(traceback), expected);
        }
    }
}
