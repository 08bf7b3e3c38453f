//! One hook: which arguments it is called with, and the function that is.

use pyo3::{prelude::*, types::PyModule};

use super::HookError;
use crate::{
    config::{HookRef, Hooks},
    python::app::{self, AppError},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    PostFork,
    WorkerInit,
    WorkerExit,
    WorkerAbort,
    ChildExit,
    PreRequest,
    PostRequest,
    WhenReady,
    OnExit,
}

impl Hook {
    pub(super) const ALL: [Self; 9] = [
        Self::PostFork,
        Self::WorkerInit,
        Self::WorkerExit,
        Self::WorkerAbort,
        Self::ChildExit,
        Self::PreRequest,
        Self::PostRequest,
        Self::WhenReady,
        Self::OnExit,
    ];

    pub(super) fn of(self, hooks: &Hooks) -> Option<&HookRef> {
        let hook = match self {
            Self::PostFork => &hooks.post_fork,
            Self::WorkerInit => &hooks.worker_init,
            Self::WorkerExit => &hooks.worker_exit,
            Self::WorkerAbort => &hooks.worker_abort,
            Self::ChildExit => &hooks.child_exit,
            Self::PreRequest => &hooks.pre_request,
            Self::PostRequest => &hooks.post_request,
            Self::WhenReady => &hooks.when_ready,
            Self::OnExit => &hooks.on_exit,
        };
        hook.as_ref()
    }

    /// The key.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PostFork => "hooks.post_fork",
            Self::WorkerInit => "hooks.worker_init",
            Self::WorkerExit => "hooks.worker_exit",
            Self::WorkerAbort => "hooks.worker_abort",
            Self::ChildExit => "hooks.child_exit",
            Self::PreRequest => "hooks.pre_request",
            Self::PostRequest => "hooks.post_request",
            Self::WhenReady => "hooks.when_ready",
            Self::OnExit => "hooks.on_exit",
        }
    }

    /// Gunicorn's.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::PostFork | Self::WorkerExit | Self::ChildExit => &["server", "worker"],
            Self::WorkerInit | Self::WorkerAbort => &["worker"],
            Self::PreRequest => &["worker", "req"],
            Self::PostRequest => &["worker", "req", "environ", "resp"],
            Self::WhenReady | Self::OnExit => &["server"],
        }
    }

    /// How many of its arguments a function has to take.
    fn arguments_min(self) -> usize {
        match self {
            // As in Gunicorn, where the others came later.
            Self::PostRequest => 2,
            _ => self.arguments().len(),
        }
    }
}

/// A function that takes what it is called with.
pub(super) struct Function {
    pub(super) hook: Hook,
    pub(super) callable: Py<PyAny>,
    /// How many of the hook's arguments it takes.
    pub(super) takes: usize,
}

impl Function {
    /// Imports it. Runs code of the user's.
    pub(super) fn load(
        py: Python<'_>,
        glue: &Bound<'_, PyModule>,
        hook: Hook,
        reference: &HookRef,
    ) -> Result<Self, HookError> {
        let unusable = |error| HookError {
            name: format!("{} `{reference}`", hook.name()),
            error,
        };
        let callable = app::find(py, &reference.module, &reference.function).map_err(unusable)?;
        let fit = glue
            .call_method1("unfit", (&callable, hook.arguments(), hook.arguments_min()))
            .and_then(|fit| fit.extract::<(usize, Option<String>)>());
        match fit {
            Ok((takes, None)) => Ok(Self {
                hook,
                callable: callable.unbind(),
                takes,
            }),
            Ok((_, Some(reason))) => Err(unusable(AppError::Unfit(format!("it {reason}")))),
            Err(error) => Err(unusable(app::raised(py, &error))),
        }
    }

    /// Writes what it raised to the error log.
    pub(super) fn report(&self, py: Python<'_>, who: &str, error: &PyErr) {
        let raised = app::raised(py, error);
        let headline = format!("{who} {} failed", self.hook.name());
        py.detach(|| raised.log_as(&headline));
    }
}
