//! The server's signals as Python knows them, and Python's as the server does.
//!
//! The server hears its signals below the interpreter (`sys::SignalBell`). What `signal.getsignal` tells of them is a handler that means the
//! same: code that takes a signal for a while, and then puts back what was there, leaves the server hearing. A handler that the
//! app has set when the worker begins to serve is called beside the server's.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use nix::{fcntl::OFlag, sys::signal::Signal, unistd::pipe2};
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyCFunction, PyDict, PyModule},
};

use super::{bundled, say};
use crate::sys;

/// The server's, as far as Python may know them.
const SIGNALS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// In a generation, before it imports code of the app's: what `signal.getsignal` tells here and in its workers. Who hears the signals has to
/// take them back afterwards.
pub(super) fn show(py: Python<'_>) -> PyResult<()> {
    let arguments = (numbers(), own(py)?);
    glue(py)?.call_method1("show", arguments).map(drop)
}

/// In a worker that is about to take its signals: those that the app handles, too, by a handler that is in place now.
pub(super) fn share(py: Python<'_>, who: &str) -> PyResult<Vec<Signal>> {
    let arguments = (numbers(), own(py)?, say::function(py, who)?);
    let shared = glue(py)?.call_method1("share", arguments)?;
    let shared: Vec<i32> = shared.extract()?;
    Ok(SIGNALS
        .into_iter()
        .filter(|signal| shared.contains(&(*signal as i32)))
        .collect())
}

/// A descriptor that is readable when a signal has arrived for which Python has a handler: this runs when the main thread asks for it,
/// and while it waits it does not. `None`: the app has use for such a descriptor itself. It never blocks.
pub(super) fn wakeups(py: Python<'_>) -> PyResult<Option<OwnedFd>> {
    let (reader, writer) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(std::io::Error::from)?;
    let set = py.import("signal")?.getattr("set_wakeup_fd")?;
    let quietly = PyDict::new(py);
    quietly.set_item("warn_on_full_buffer", false)?;
    let before: i32 = set.call((writer.as_raw_fd(),), Some(&quietly))?.extract()?;
    if before >= 0 {
        set.call1((before,))?;
        return Ok(None);
    }
    // The interpreter writes to it for as long as the process lives.
    let _ = writer.into_raw_fd();
    Ok(Some(reader))
}

fn numbers() -> Vec<i32> {
    SIGNALS.iter().map(|signal| *signal as i32).collect()
}

/// The handler that stands for the server's: called in the place of that, it does the same.
fn own(py: Python<'_>) -> PyResult<&Bound<'_, PyCFunction>> {
    static OWN: PyOnceLock<Py<PyCFunction>> = PyOnceLock::new();
    let own = OWN.get_or_try_init(py, || {
        let handler = PyCFunction::new_closure(py, None, None, |arguments, _| {
            let number = arguments.get_item(0)?.extract()?;
            PyResult::Ok(sys::deliver(number)?)
        })?;
        PyResult::Ok(handler.unbind())
    })?;
    Ok(own.bind(py))
}

/// The functions of `signals.py`.
fn glue(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static GLUE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = GLUE.get_or_try_init(py, || {
        bundled::module(py, "signals", include_str!("signals.py")).map(Bound::unbind)
    })?;
    Ok(module.bind(py))
}
