//! An exit that the app asks for beside its requests: `sys.exit()` in a task, a timer, a greenlet or a signal handler of its own. Event
//! loops end with it. The worker leaves in order, as it does after TERM, and another takes its place.

use pyo3::{
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    prelude::*,
};

use crate::{config::LogLevel, python::exception, worker::Station};

/// Has the worker drain if the error is an exit: a loop that ended with it has to be run again until that is done. Any other error is
/// handed back.
pub(in crate::python) fn drain_after(
    py: Python<'_>,
    station: &Station,
    drain: impl FnOnce() + Send,
    error: PyErr,
) -> PyResult<()> {
    let is_exit =
        error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py);
    if !is_exit {
        return Err(error);
    }
    let slot = station.slot();
    let headline = format!(
        "generation={} worker={} leaves, after its requests: the app raised {} outside of them",
        slot.generation(),
        slot.worker(),
        exception::in_one_line(py, &error)
    );
    exception::log(py, LogLevel::Warning, &headline, &error);
    py.detach(drain);
    Ok(())
}
