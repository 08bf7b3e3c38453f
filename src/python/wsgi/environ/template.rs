//! What is the same in the environs of all requests of a listener, made once and copied for each of them.

use pyo3::{intern, prelude::*, types::PyDict};

use super::script_name;
use crate::{
    config::Config,
    python::{ffi, green::Library, wsgi::input::Input},
    wire::ListenerAddress,
    worker::remote_address,
};

/// CPython gives a dict that has come to so many entries room for 42, and leaves it that when they become fewer.
const ROOMY_ENTRIES: usize = 22;

/// What a template holds beside the constants.
pub(in crate::python::wsgi) struct Surroundings<'a, 'py> {
    pub(in crate::python::wsgi) errors: Bound<'py, PyAny>,
    pub(in crate::python::wsgi) file_wrapper: Bound<'py, PyAny>,
    pub(in crate::python::wsgi) early_hints: Bound<'py, PyAny>,
    pub(in crate::python::wsgi) listeners: &'a [ListenerAddress],
    pub(in crate::python::wsgi) config: &'a Config,
}

pub(super) fn template(
    py: Python<'_>,
    address: &ListenerAddress,
    surroundings: &Surroundings<'_, '_>,
) -> PyResult<Py<PyDict>> {
    let (name, port) = match address {
        ListenerAddress::Tcp(address) => (remote_address(address.ip()), address.port().to_string()),
        ListenerAddress::Unix(path) => (path.clone(), String::new()),
    };
    let config = surroundings.config;
    let environ = PyDict::new(py);
    environ.set_item("REQUEST_METHOD", intern!(py, "GET"))?;
    environ.set_item("SCRIPT_NAME", ffi::latin1(py, script_name()))?;
    environ.set_item("PATH_INFO", "")?;
    environ.set_item("QUERY_STRING", "")?;
    environ.set_item("RAW_URI", "")?;
    environ.set_item("SERVER_NAME", name)?;
    environ.set_item("SERVER_PORT", port)?;
    environ.set_item("SERVER_PROTOCOL", intern!(py, "HTTP/1.1"))?;
    environ.set_item(
        "SERVER_SOFTWARE",
        concat!("rgunicorn/", env!("CARGO_PKG_VERSION")),
    )?;
    environ.set_item("REMOTE_ADDR", "")?;
    environ.set_item("wsgi.version", (1, 0))?;
    environ.set_item("wsgi.url_scheme", intern!(py, "http"))?;
    environ.set_item("wsgi.input", Bound::new(py, Input::empty())?)?;
    environ.set_item("wsgi.input_terminated", true)?;
    environ.set_item("wsgi.errors", &surroundings.errors)?;
    let calls_interleave = config.threads > 1 || Library::of(config.worker_class).is_some();
    environ.set_item("wsgi.multithread", calls_interleave)?;
    environ.set_item("wsgi.multiprocess", config.workers > 1)?;
    environ.set_item("wsgi.run_once", false)?;
    environ.set_item("wsgi.file_wrapper", &surroundings.file_wrapper)?;
    environ.set_item("wsgi.early_hints", &surroundings.early_hints)?;
    make_room(&environ)?;
    Ok(environ.unbind())
}

/// Has the dict hold more than it does, which its copies do likewise: else each would soon have to grow, 55 ns a request.
fn make_room(environ: &Bound<'_, PyDict>) -> PyResult<()> {
    let missing = ROOMY_ENTRIES.saturating_sub(environ.len());
    for number in 0..missing {
        environ.set_item(number, ())?;
    }
    for _ in 0..missing {
        environ.call_method0(intern!(environ.py(), "popitem"))?;
    }
    Ok(())
}
