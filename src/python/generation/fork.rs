//! Forks workers, and processes for hooks, as the arbiter orders.

use nix::sys::signal::Signal;
use pyo3::prelude::*;

use super::{Prepared, capture::become_captured};
use crate::{
    config::{Config, WorkerClass},
    generation::{ForkServer, ForkServerTask, OutputPipes, WorkerStart},
    python::{bundled, ending, exception, green::Library, worker},
    sys::{disregard, fork_blocked, restore_defaults, set_process_title},
    telemetry::Printer,
};

/// What somebody who writes `pkill -HUP rgunicorn` means for the arbiter alone: no worker dies of it.
const FOR_THE_ARBITER: [Signal; 2] = [Signal::SIGHUP, Signal::SIGUSR2];

pub(super) fn fork_as_told(py: Python<'_>, mut server: ForkServer, prepared: Prepared) -> i32 {
    let Prepared {
        mut inherited,
        app,
        glue,
        hooks,
        forks,
    } = prepared;
    let own_pid = std::process::id();
    let mut has_forked = false;
    loop {
        match py.detach(|| server.next_task()) {
            ForkServerTask::Fork {
                worker,
                slot,
                sheet,
            } => match forks.with_pipes(py, &inherited.settings.config) {
                Ok((0, pipes)) => {
                    // The channel and the signals' bell are the generation's.
                    drop(server);
                    if let Some(pipes) = pipes {
                        become_captured(py, pipes, worker, own_pid);
                    }
                    let start = inherited.into_worker(worker, slot, !has_forked);
                    set_process_title(&worker_title(&start));
                    return worker::run(py, start, sheet, app, glue.as_ref());
                }
                Ok((pid, pipes)) => {
                    has_forked = true;
                    if let Some(pipes) = pipes {
                        server.read_output(Printer { pid, worker }, pipes.into_readers());
                    }
                    server.forked(worker, pid);
                }
                Err(error) => server.not_forked(worker, exception::in_one_line(py, &error)),
            },
            ForkServerTask::RunHook(occasion) => {
                let Some(glue) = glue.as_ref().filter(|_| hooks.has(&occasion)) else {
                    continue;
                };
                match forks.fork(py) {
                    Ok(0) => {
                        drop(server);
                        inherited.listeners.clear();
                        hooks.run_and_end(py, glue, &inherited.settings, &occasion)
                    }
                    Ok(pid) => server.hook_forked(pid, occasion),
                    Err(error) => {
                        crate::warning!("{} cannot be run: {error}", occasion.hook());
                    }
                }
            }
            ForkServerTask::TakeLive => {
                py.detach(|| inherited.take_live());
                server.grant(inherited.settings.config.timeouts.graceful);
            }
            // An address that is given up must not be held open for as long as the last worker takes.
            ForkServerTask::Retire => inherited.listeners.clear(),
            ForkServerTask::Leave => {
                if Library::of(inherited.settings.config.worker_class).is_none() {
                    let generation = inherited.settings.generation;
                    ending::watch(py, &format!("generation={generation}"));
                }
                return 0;
            }
            ForkServerTask::Start(..) => crate::error!("the arbiter started a generation twice"),
        }
    }
}

fn worker_title(start: &WorkerStart) -> String {
    let settings = &start.inherited.settings;
    format!(
        "rgunicorn: worker {} generation {} [{}]",
        start.worker, settings.generation, settings.config.proc_name
    )
}

/// What forks through the interpreter, so that what it and the app registered with `os.register_at_fork` runs.
pub(super) struct Forks {
    /// Of `fork.py`.
    fork: Py<PyAny>,
    /// The module that it asks.
    module: Py<PyModule>,
}

impl Forks {
    pub(super) fn new(py: Python<'_>, class: WorkerClass) -> PyResult<Self> {
        let own = bundled::module(py, "fork", include_str!("fork.py"))?;
        // A patched `os.fork` would have the library's hub wait for the child, which is ours to wait for.
        let module = Library::of(class).map_or("os", |_| "posix");
        Ok(Self {
            fork: own.getattr("fork")?.unbind(),
            module: py.import(module)?.unbind(),
        })
    }

    /// Zero in the child, which begins with all other signals at their default: until the worker can drain, SIGTERM ends it.
    fn fork(&self, py: Python<'_>) -> PyResult<u32> {
        fork_blocked(
            || self.fork.call1(py, (&self.module,))?.extract::<u32>(py),
            |pid| *pid == 0,
            || {
                // It fails for numbers that are no signals only.
                let _ = restore_defaults(&ForkServer::SIGNALS);
                let _ = disregard(&FOR_THE_ARBITER);
            },
        )
    }

    /// With the pipes for what the worker prints, where that is captured.
    fn with_pipes(&self, py: Python<'_>, config: &Config) -> PyResult<(u32, Option<OutputPipes>)> {
        let pipes = (config.log.capture_output)
            .then(OutputPipes::create)
            .transpose()?;
        Ok((self.fork(py)?, pipes))
    }
}
