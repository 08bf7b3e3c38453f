//! Whether an app's exception says no more than that the client has gone.
//!
//! A `send` to a client that has gone raises an `OSError`, as ASGI wants from version 2.4 on. Frameworks put their own in its place
//! (Starlette's `ClientDisconnect` and `WebSocketDisconnect`), and task groups wrap it. None of that is a failure of the app:
//! a browser that is closed while events are sent to it must not leave a traceback in the log.

use pyo3::{
    intern,
    prelude::*,
    types::{PyTuple, PyType},
};

/// Groups within groups that are looked into.
const DEPTH_MAX: usize = 8;
/// How the names of such exceptions begin: ours, and those of Starlette, FastAPI and Litestar. A database that disconnects
/// (`DisconnectionError`) is something else.
const NAMES: [&str; 2] = ["ClientDisconnect", "WebSocketDisconnect"];

/// To be asked only where the client has gone indeed.
pub(super) fn tells_of_it(py: Python<'_>, error: &PyErr) -> bool {
    tells(error.value(py).as_any(), DEPTH_MAX)
}

fn tells(error: &Bound<'_, PyAny>, depth: usize) -> bool {
    let members = error.getattr(intern!(error.py(), "exceptions"));
    if let Some(members) = members.ok().and_then(|it| it.cast_into::<PyTuple>().ok()) {
        let tells_so = |member| tells(&member, depth - 1);
        return depth > 0 && !members.is_empty() && members.iter().all(tells_so);
    }
    let is_one = |class: Bound<'_, PyAny>| {
        let name = class.cast_into::<PyType>().ok()?.name().ok()?;
        let name = name.to_string_lossy();
        Some(NAMES.iter().any(|begin| name.starts_with(begin)))
    };
    let classes = error.get_type().mro();
    classes.iter().any(|class| is_one(class).unwrap_or(false))
}
