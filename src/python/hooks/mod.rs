//! `[hooks]`: functions of the user's, imported and checked while a generation boots, and called with small objects that
//! offer what people use of Gunicorn's.
//!
//! Those of a worker are imported in the worker; those that concern the whole server (`child_exit`, `when_ready`,
//! `on_exit`) in the generation, which forks a process for each call. With `preload`, all are imported in the generation.

mod abort;
mod alone;
mod function;
mod requests;
mod worker;

use pyo3::{
    prelude::*,
    types::{PyList, PyModule},
};

use super::{
    app::{self, AppError},
    bundled, say,
};
use crate::{
    config::Hooks,
    wire::{ListenerAddress, WorkerSettings},
};

pub(super) use alone::GenerationHooks;
use function::{Function, Hook};
pub(super) use requests::{Answer, Met, RequestHooks};
pub(super) use worker::{Failed, WorkerHooks};

/// What all hooks of a generation and its workers share; made before any worker is forked.
pub(super) struct Glue {
    module: Py<PyModule>,
    /// `server`, the first argument of some.
    server: Py<PyAny>,
}

impl Glue {
    /// `None` where no hook is set.
    pub(super) fn new(py: Python<'_>, settings: &WorkerSettings) -> PyResult<Option<Self>> {
        let hooks = &settings.config.hooks;
        if Hook::ALL.iter().all(|hook| hook.of(hooks).is_none()) {
            return Ok(None);
        }
        let module = bundled::module(py, "hooks", include_str!("hooks.py"))?;
        let addresses = PyList::empty(py);
        for listener in &settings.listeners {
            match &listener.address {
                ListenerAddress::Tcp(address) => {
                    addresses.append((address.ip().to_string(), address.port()))?;
                }
                ListenerAddress::Unix(path) => addresses.append(path)?,
            }
        }
        let server = module.call_method1(
            "Server",
            (
                // The generation is a child of the arbiter.
                std::os::unix::process::parent_id(),
                settings.generation,
                addresses,
                say::function(py, &format!("generation={}", settings.generation))?,
            ),
        )?;
        Ok(Some(Self {
            module: module.unbind(),
            server: server.unbind(),
        }))
    }

    /// The hook's function, if one is set.
    fn load(
        &self,
        py: Python<'_>,
        hook: Hook,
        hooks: &Hooks,
    ) -> Result<Option<Function>, HookError> {
        hook.of(hooks)
            .map(|reference| Function::load(py, self.module.bind(py), hook, reference))
            .transpose()
    }

    /// Looks at all hooks of workers, where the app is imported before they are forked.
    pub(super) fn check_all(&self, py: Python<'_>, hooks: &Hooks) -> Result<(), HookError> {
        for hook in Hook::ALL {
            self.load(py, hook, hooks)?;
        }
        Ok(())
    }
}

/// A hook that cannot be used.
pub(super) struct HookError {
    /// ``hooks.post_fork `mysite.hooks:post_fork` ``
    name: String,
    error: AppError,
}

impl HookError {
    /// One line.
    pub(super) fn reason(&self) -> String {
        format!("{}: {}", self.name, self.error.reason())
    }

    /// Writes it to the error log. `who` is the beginning of the line.
    pub(super) fn log(&self, who: &str) {
        self.error.log(who, &self.name);
    }
}

/// The server's own objects could not be made.
impl From<PyErr> for HookError {
    fn from(error: PyErr) -> Self {
        Self {
            name: "hooks".to_owned(),
            error: Python::attach(|py| app::raised(py, &error)),
        }
    }
}
