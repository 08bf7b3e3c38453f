//! The hooks of a generation, each run in a process of its own: `child_exit`, `when_ready`, `on_exit`.
//!
//! The generation has one thread and must stay able to fork. A hook that hangs, crashes or starts threads does so in a copy
//! of it, which the kernel's alarm ends. The price: what the hook changes in memory is gone with the process.

use nix::{sys::signal::Signal, unistd::alarm};
use pyo3::prelude::*;

use super::{Function, Glue, Hook, HookError};
use crate::{
    generation::{HOOK_RAISED, HOOK_SECONDS_MAX, Occasion},
    python::{green::Library, output, say},
    sys::{self, restore_defaults, set_process_title},
    wire::WorkerSettings,
};

#[derive(Default)]
pub(in crate::python) struct GenerationHooks {
    child_exit: Option<Function>,
    when_ready: Option<Function>,
    on_exit: Option<Function>,
}

impl GenerationHooks {
    /// Imports them.
    pub(in crate::python) fn load(
        py: Python<'_>,
        glue: &Glue,
        settings: &WorkerSettings,
    ) -> Result<Self, HookError> {
        let load = |hook| glue.load(py, hook, &settings.config.hooks);
        Ok(Self {
            child_exit: load(Hook::ChildExit)?,
            when_ready: load(Hook::WhenReady)?,
            on_exit: load(Hook::OnExit)?,
        })
    }

    /// Whether there is a hook for it.
    pub(in crate::python) fn has(&self, occasion: &Occasion) -> bool {
        self.function(occasion).is_some()
    }

    fn function(&self, occasion: &Occasion) -> Option<&Function> {
        match occasion {
            Occasion::Ready => self.when_ready.as_ref(),
            Occasion::WorkerGone { .. } => self.child_exit.as_ref(),
            Occasion::Stopped => self.on_exit.as_ref(),
        }
    }

    /// In the process that was forked for it: runs the hook and ends.
    pub(in crate::python) fn run_and_end(
        &self,
        py: Python<'_>,
        glue: &Glue,
        settings: &WorkerSettings,
        occasion: &Occasion,
    ) -> ! {
        let hook = occasion.hook();
        let (generation, name) = (settings.generation, &settings.config.proc_name);
        set_process_title(&format!(
            "rgunicorn: {hook} generation {generation} [{name}]"
        ));
        // An app that was preloaded may have its own handler for it.
        let _ = restore_defaults(&[Signal::SIGALRM]);
        let _ = alarm::set(HOOK_SECONDS_MAX);
        let code = match self.run(py, glue, settings, occasion) {
            Ok(()) => 0,
            Err(error) => {
                if let Some(function) = self.function(occasion) {
                    function.report(py, &format!("generation={generation}"), &error);
                }
                HOOK_RAISED
            }
        };
        output::flush(py);
        // Neither the app's `atexit` handlers nor the generation's: it is not the app that ends.
        sys::exit_now(code)
    }

    fn run(
        &self,
        py: Python<'_>,
        glue: &Glue,
        settings: &WorkerSettings,
        occasion: &Occasion,
    ) -> PyResult<()> {
        if let Some(library) = Library::of(settings.config.worker_class) {
            library.after_fork(py)?;
        }
        let Some(function) = self.function(occasion) else {
            return Ok(());
        };
        let server = &glue.server;
        match occasion {
            Occasion::Ready | Occasion::Stopped => function.callable.call1(py, (server,))?,
            Occasion::WorkerGone {
                worker,
                pid,
                status,
            } => {
                let generation = settings.generation;
                let say = say::function(py, &format!("generation={generation} worker={worker}"))?;
                // As `multiprocessing` tells it.
                let exit_code = sys::exit_code(*status).unwrap_or(-(status & 0x7f));
                let arguments = (pid, worker, generation, say, exit_code);
                let worker = glue.module.call_method1(py, "Worker", arguments)?;
                function.callable.call1(py, (server, worker))?
            }
        };
        Ok(())
    }
}
