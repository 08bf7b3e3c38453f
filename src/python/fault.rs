//! What a process says when it is aborted or crashes: the Python stacks of all its threads, in the error log.

use pyo3::{prelude::*, types::PyDict};

/// From now on SIGABRT, SIGSEGV and their like write the stacks before the process dies. Forked workers inherit it.
///
/// faulthandler writes to the number of the descriptor, which stays the same when the log is reopened or moved, and takes no lock:
/// it works in a process that is stuck, which is when the arbiter sends SIGABRT.
pub(super) fn dump_stacks_on_abort(py: Python<'_>) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item("file", crate::telemetry::descriptor())?;
    options.set_item("all_threads", true)?;
    py.import("faulthandler")?
        .call_method("enable", (), Some(&options))?;
    Ok(())
}

/// Has SIGABRT go to whoever `install` gives it to, after the stacks were written: the handler that was there before
/// faulthandler's gets the signal when that is done.
pub(super) fn hand_abort_on<T>(
    py: Python<'_>,
    install: impl FnOnce() -> std::io::Result<T>,
) -> PyResult<T> {
    py.import("faulthandler")?.call_method0("disable")?;
    let installed = install()?;
    dump_stacks_on_abort(py)?;
    Ok(installed)
}
