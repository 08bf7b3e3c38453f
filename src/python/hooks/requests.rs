//! `pre_request` and `post_request`. Where neither is set, a gateway has none of this.

use pyo3::{
    exceptions::PyException,
    intern,
    prelude::*,
    types::{PyDict, PyTuple},
};

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
    /// What both are called in; `None`: in the current one.
    context: Option<Py<PyAny>>,
}

/// What a request was answered with.
pub(in crate::python) struct Answer {
    pub(in crate::python) status: u16,
    /// Empty where the server answered in the app's place.
    pub(in crate::python) head: Vec<u8>,
    pub(in crate::python) body_bytes: u64,
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
        meet(py, &self.wsgi_request, environ, None)
    }

    /// `context` is the request's own: the app gets a copy of it. Responses end in code of the app's or in the server's, so the hooks
    /// are called in neither's.
    pub(in crate::python) fn meet_asgi(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<Met> {
        meet(py, &self.asgi_request, scope, Some(context))
    }

    /// Before the app is called. What the hook raises is logged; an error is what ends the request: `timeouts.request`, an exit.
    pub(in crate::python) fn before(&self, py: Python<'_>, met: &Met) -> PyResult<()> {
        let Some(function) = &self.before else {
            return Ok(());
        };
        let arguments = [self.worker.bind(py), met.request.bind(py)];
        match met.call(function.callable.bind(py), &arguments) {
            Err(error) if error.is_instance_of::<PyException>(py) => {
                function.report(py, &self.who, &error);
                Ok(())
            }
            other => other,
        }
    }

    /// After the response, of which the client may not have taken all yet. It is asked for only if there is a hook to be told.
    pub(in crate::python) fn after(
        &self,
        py: Python<'_>,
        met: &Met,
        answer: impl FnOnce() -> Answer,
    ) {
        let Some(function) = &self.after else {
            return;
        };
        let call = || {
            let Answer {
                status,
                head,
                body_bytes,
            } = answer();
            let response = (self.response.bind(py)).call1((status, head.as_slice(), body_bytes))?;
            let environ = met.environ.bind(py).as_any();
            let arguments = [
                self.worker.bind(py),
                met.request.bind(py),
                environ,
                &response,
            ];
            met.call(function.callable.bind(py), &arguments[..function.takes])
        };
        if let Err(error) = call() {
            function.report(py, &self.who, &error);
        }
    }
}

impl Met {
    fn call<'py>(
        &self,
        callable: &Bound<'py, PyAny>,
        arguments: &[&Bound<'py, PyAny>],
    ) -> PyResult<()> {
        let py = callable.py();
        let Some(context) = &self.context else {
            return callable.call1(PyTuple::new(py, arguments)?).map(drop);
        };
        let all = [&[callable], arguments].concat();
        let context = context.bind(py);
        context
            .call_method1(intern!(py, "run"), PyTuple::new(py, all)?)
            .map(drop)
    }
}

fn meet(
    py: Python<'_>,
    class: &Py<PyAny>,
    environ: &Bound<'_, PyDict>,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<Met> {
    Ok(Met {
        request: class.call1(py, (environ,))?,
        environ: environ.clone().unbind(),
        context: context.map(|context| context.clone().unbind()),
    })
}
