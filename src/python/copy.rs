//! The end of a process that the app forked and that came back from the app, from a request or an import: it must neither answer the
//! client, whom the worker answers, nor serve anybody, nor speak for the generation.

use pyo3::{exceptions::PySystemExit, prelude::*};

use super::output;
use crate::sys;

/// Ends this process if it is a copy of the worker (see [`sys::watch_for_copies`]): with the code of `SystemExit`, if the app
/// raised that; else it is told on the app's standard error.
#[inline]
pub(super) fn end_if_copy(py: Python<'_>, raised: Option<&PyErr>) {
    if sys::is_copy() {
        end(py, raised);
    }
}

#[cold]
fn end(py: Python<'_>, raised: Option<&PyErr>) -> ! {
    let code = match raised {
        Some(error) => exit_code(py, error).unwrap_or(1),
        None => {
            let _ = complain(py);
            0
        }
    };
    output::flush(py);
    // No `atexit`: what is registered there is the worker's.
    sys::exit_now(code);
}

fn exit_code(py: Python<'_>, error: &PyErr) -> PyResult<i32> {
    if !error.is_instance_of::<PySystemExit>(py) {
        error.print(py);
        return Ok(1);
    }
    let code = error.value(py).getattr("code")?;
    match code.is_none() {
        true => Ok(0),
        false => code.extract(),
    }
}

/// Not in the error log: another thread may have held one of its locks at the fork.
fn complain(py: Python<'_>) -> PyResult<()> {
    let pid = std::process::id();
    let text = format!(
        "rgunicorn: the process {pid}, which the app forked, came back from the app and was ended; let it end with os._exit()\n"
    );
    let stderr = py.import("sys")?.getattr("stderr")?;
    stderr.call_method1("write", (text,))?;
    Ok(())
}
