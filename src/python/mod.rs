//! The engine: the extension module that the configured interpreter loads. The only code that knows Python.
//!
//! A generation calls [`serve`] once; it returns in the generation when all is done, and in each forked worker when that
//! is, with the exit code. `sys.exit` follows in both, so that the app's `atexit` handlers run.

mod app;
mod asgi;
mod bundled;
mod copy;
mod date;
mod driver;
mod dropped_header;
mod ending;
mod exception;
mod ffi;
mod generation;
mod green;
mod header_hash;
mod hooks;
mod kind;
mod logging;
mod output;
mod say;
mod signals;
mod stacks;
mod worker;
mod wsgi;

use std::os::fd::RawFd;

use pyo3::{
    create_exception,
    exceptions::{PyBaseException, PyConnectionError},
    prelude::*,
};

create_exception!(
    rgunicorn,
    RequestTimeout,
    PyBaseException,
    "Raised in a request that takes longer than `timeouts.request`."
);

create_exception!(
    rgunicorn,
    ClientDisconnected,
    PyConnectionError,
    "Raised by an ASGI `send` when the client has closed the connection."
);

/// Serves the arbiter on the inherited descriptor; returns the exit code.
#[pyfunction]
fn serve(py: Python<'_>, descriptor: RawFd) -> PyResult<i32> {
    Ok(generation::serve(
        py,
        crate::sys::adopt_descriptor(descriptor)?,
    ))
}

/// Built under the name that the bootstrap loads it by.
#[pymodule]
fn _rgunicorn(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("RequestTimeout", module.py().get_type::<RequestTimeout>())?;
    module.add(
        "ClientDisconnected",
        module.py().get_type::<ClientDisconnected>(),
    )?;
    module.add_function(wrap_pyfunction!(serve, module)?)
}
