//! `pre_request` and `post_request`. Where neither is set, a gateway has none of this.

use pyo3::{exceptions::PyException, prelude::*, types::PyDict};

use super::{Function, Glue, Hook, HookError};
use crate::config::Hooks;

pub(in crate::python) struct RequestHooks {
    who: String,
    worker: Py<PyAny>,
    before: Option<Function>,
    after: Option<Function>,
    wsgi_request: Py<PyAny>,
    asgi_request: Py<PyAny>,
    response: Py<PyAny>,
}

/// A request that the hooks have met.
pub(in crate::python) struct Met {
    request: Py<PyAny>,
    /// The environ, or the scope.
    environ: Py<PyDict>,
}

impl RequestHooks {
    /// `None` where neither is set.
    pub(super) fn load(
        py: Python<'_>,
        glue: &Glue,
        hooks: &Hooks,
        worker: &Py<PyAny>,
        who: &str,
    ) -> Result<Option<Self>, HookError> {
        let before = glue.load(py, Hook::PreRequest, hooks)?;
        let after = glue.load(py, Hook::PostRequest, hooks)?;
        if before.is_none() && after.is_none() {
            return Ok(None);
        }
        let class = |name| glue.module.getattr(py, name);
        Ok(Some(Self {
            who: who.to_owned(),
            worker: worker.clone_ref(py),
            before,
            after,
            wsgi_request: class("WsgiRequest")?,
            asgi_request: class("AsgiRequest")?,
            response: class("Response")?,
        }))
    }

    pub(in crate::python) fn meet_wsgi(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<Met> {
        meet(py, &self.wsgi_request, environ)
    }

    pub(in crate::python) fn meet_asgi(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
    ) -> PyResult<Met> {
        meet(py, &self.asgi_request, scope)
    }

    /// Before the app is called. What the hook raises is logged; an error is what ends the request: `timeouts.request`, an exit.
    pub(in crate::python) fn before(&self, py: Python<'_>, met: &Met) -> PyResult<()> {
        let Some(function) = &self.before else {
            return Ok(());
        };
        match function.callable.call1(py, (&self.worker, &met.request)) {
            Err(error) if error.is_instance_of::<PyException>(py) => {
                function.report(py, &self.who, &error);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Whether [`RequestHooks::after`] has something to do.
    pub(in crate::python) fn wants_outcome(&self) -> bool {
        self.after.is_some()
    }

    /// After the response. `head` is the response's, empty where the server answered in the app's place.
    pub(in crate::python) fn after(
        &self,
        py: Python<'_>,
        met: &Met,
        status: u16,
        head: &[u8],
        body_bytes: u64,
    ) {
        let Some(function) = &self.after else {
            return;
        };
        let call = || {
            let callable = &function.callable;
            match function.takes {
                2 => callable.call1(py, (&self.worker, &met.request)),
                3 => callable.call1(py, (&self.worker, &met.request, &met.environ)),
                _ => {
                    let response = self.response.call1(py, (status, head, body_bytes))?;
                    callable.call1(py, (&self.worker, &met.request, &met.environ, response))
                }
            }
        };
        if let Err(error) = call() {
            function.report(py, &self.who, &error);
        }
    }
}

fn meet(py: Python<'_>, class: &Py<PyAny>, environ: &Bound<'_, PyDict>) -> PyResult<Met> {
    Ok(Met {
        request: class.call1(py, (environ,))?,
        environ: environ.clone().unbind(),
    })
}
