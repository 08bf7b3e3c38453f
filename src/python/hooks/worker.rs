//! The hooks of a worker: at its begin, at its end, and when it is aborted. Those of requests go to the gateways.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use pyo3::prelude::*;

use super::{Function, Glue, Hook, HookError, RequestHooks, abort};
use crate::{python::say, sys, wire::WorkerSettings};

/// What `worker_exit` may take at least, whatever `timeouts.graceful` is.
const EXIT_LIMIT_MIN: Duration = Duration::from_secs(1);

pub(in crate::python) struct WorkerHooks {
    /// The beginning of log lines.
    who: String,
    server: Py<PyAny>,
    worker: Py<PyAny>,
    post_fork: Option<Function>,
    worker_init: Option<Function>,
    worker_exit: Option<Function>,
    worker_abort: Option<Function>,
    requests: Option<Arc<RequestHooks>>,
}

/// A hook raised, for which a worker cannot boot. It stands in the log.
pub(in crate::python) struct Failed;

impl WorkerHooks {
    /// Imports them. In the worker, before the app is.
    pub(in crate::python) fn load(
        py: Python<'_>,
        glue: &Glue,
        settings: &WorkerSettings,
        worker: u64,
        who: &str,
    ) -> Result<Self, HookError> {
        let hooks = &settings.config.hooks;
        let load = |hook| glue.load(py, hook, hooks);
        let object = worker_object(py, glue, settings, worker, who)?;
        Ok(Self {
            post_fork: load(Hook::PostFork)?,
            worker_init: load(Hook::WorkerInit)?,
            worker_exit: load(Hook::WorkerExit)?,
            worker_abort: load(Hook::WorkerAbort)?,
            requests: RequestHooks::load(py, glue, hooks, &object, who)?.map(Arc::new),
            who: who.to_owned(),
            server: glue.server.clone_ref(py),
            worker: object,
        })
    }

    pub(in crate::python) fn post_fork(&self, py: Python<'_>) -> Result<(), Failed> {
        self.must_succeed(py, self.post_fork.as_ref(), |function| {
            function.callable.call1(py, (&self.server, &self.worker))
        })
    }

    pub(in crate::python) fn worker_init(&self, py: Python<'_>) -> Result<(), Failed> {
        self.must_succeed(py, self.worker_init.as_ref(), |function| {
            function.callable.call1(py, (&self.worker,))
        })
    }

    fn must_succeed(
        &self,
        py: Python<'_>,
        function: Option<&Function>,
        call: impl FnOnce(&Function) -> PyResult<Py<PyAny>>,
    ) -> Result<(), Failed> {
        let Some(function) = function else {
            return Ok(());
        };
        call(function).map(drop).map_err(|error| {
            function.report(py, &self.who, &error);
            Failed
        })
    }

    /// After the last request. Ends the process if it takes longer than `limit`: nobody may be left to do that.
    pub(in crate::python) fn worker_exit(&self, py: Python<'_>, limit: Duration) {
        let Some(function) = &self.worker_exit else {
            return;
        };
        let limit = limit.max(EXIT_LIMIT_MIN);
        let (done, is_done) = mpsc::channel::<()>();
        let who = self.who.clone();
        let watch = move || {
            if is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                crate::warning!("{who} hooks.worker_exit was not done after {limit:?}: ended");
                sys::exit_now(0);
            }
        };
        let thread = std::thread::Builder::new().name("rg-exit".to_owned());
        let watch = thread.spawn(watch);
        if let Err(error) = &watch {
            crate::warning!("{} hooks.worker_exit has no limit: {error}", self.who);
        }
        if let Err(error) = function.callable.call1(py, (&self.server, &self.worker)) {
            function.report(py, &self.who, &error);
        }
        drop(done);
        py.detach(|| watch.map(std::thread::JoinHandle::join).ok());
    }

    /// From now on SIGABRT has `worker_abort` called before the worker dies of it.
    pub(in crate::python) fn watch_for_abort(&self, py: Python<'_>) -> PyResult<()> {
        match &self.worker_abort {
            Some(function) => abort::watch(py, function, &self.worker, &self.who),
            None => Ok(()),
        }
    }

    pub(in crate::python) fn requests(&self) -> Option<Arc<RequestHooks>> {
        self.requests.clone()
    }
}

fn worker_object(
    py: Python<'_>,
    glue: &Glue,
    settings: &WorkerSettings,
    worker: u64,
    who: &str,
) -> PyResult<Py<PyAny>> {
    let say = say::function(py, who)?;
    let arguments = (std::process::id(), worker, settings.generation, say);
    let object = glue.module.call_method1(py, "Worker", arguments)?;
    Ok(object)
}
