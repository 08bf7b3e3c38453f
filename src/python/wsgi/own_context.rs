//! A request that a thread serves has a context (`contextvars`) of its own, as it has in a greenlet and in a task: what the app, a hook
//! or a library puts into it is not there for the next client of that thread.

use std::ffi::CStr;

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use super::gateway::{Gateway, Served};
use crate::{
    python::ffi::{self, Behaviour, Builtin, HeldCell},
    worker::Connection,
};

/// Serves the requests of one seat, each in a copy of its thread's context.
pub(in crate::python) struct OwnContext {
    errand: Py<Errand>,
    /// Bound to the errand; called inside the context.
    serve: Py<PyAny>,
    copy_context: Py<PyAny>,
}

/// What is carried into a context, and back.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Errand(HeldCell<Luggage>);

struct Luggage {
    /// `None` while it serves.
    gateway: Option<Box<Gateway>>,
    connection: Option<Box<Connection>>,
    served: Option<PyResult<Served>>,
}

impl OwnContext {
    pub(in crate::python) fn new(py: Python<'_>, gateway: Gateway) -> PyResult<Self> {
        let luggage = Luggage {
            gateway: Some(Box::new(gateway)),
            connection: None,
            served: None,
        };
        let errand = Bound::new(py, Errand(HeldCell::new(luggage)))?;
        Ok(Self {
            serve: ffi::builtin::<Serve>(&errand)?,
            errand: errand.unbind(),
            copy_context: py.import("contextvars")?.getattr("copy_context")?.unbind(),
        })
    }

    /// Serves one request to its end.
    pub(in crate::python) fn serve(
        &self,
        py: Python<'_>,
        connection: Box<Connection>,
    ) -> PyResult<Served> {
        let errand = self.errand.get();
        errand.0.borrow(py).connection = Some(connection);
        let context = ffi::call(self.copy_context.bind(py), [])?;
        ffi::call_method(&context, intern!(py, "run"), [self.serve.bind(py)])?;
        let served = errand.0.borrow(py).served.take();
        served.unwrap_or_else(|| Err(PyRuntimeError::new_err("the context was not entered")))
    }
}

struct Serve;

impl Builtin for Serve {
    type This = Errand;
    const NAME: &'static CStr = c"serve";
    const DOC: &'static CStr = c"serve()\n\nServe the request at hand.";
    const BEHAVIOUR: Behaviour<Errand> = serve;
}

fn serve(errand: &Bound<'_, Errand>, _: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let (py, luggage) = (errand.py(), &errand.get().0);
    let mut guard = luggage.borrow(py);
    let (gateway, connection) = (guard.gateway.take(), guard.connection.take());
    drop(guard);
    if let (Some(mut gateway), Some(connection)) = (gateway, connection) {
        let served = gateway.serve(py, connection);
        let mut guard = luggage.borrow(py);
        guard.served = Some(served);
        guard.gateway = Some(gateway);
    }
    Ok(py.None())
}
