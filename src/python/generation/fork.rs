//! Forks workers, and processes for hooks, as the arbiter orders.

use nix::sys::signal::Signal;
use pyo3::prelude::*;

use super::{Prepared, capture::become_captured};
use crate::{
    config::Config,
    generation::{ForkServer, ForkServerTask, OutputPipes, WorkerStart},
    python::{app, ending, green::Library, worker},
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
    } = prepared;
    let library = Library::of(inherited.settings.config.worker_class);
    let own_pid = std::process::id();
    let mut has_forked = false;
    loop {
        match py.detach(|| server.next_task()) {
            ForkServerTask::Fork {
                worker,
                slot,
                sheet,
            } => match fork_with_pipes(py, library, &inherited.settings.config) {
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
                Err(error) => server.not_forked(worker, app::told(py, &error)),
            },
            ForkServerTask::RunHook(occasion) => {
                let Some(glue) = glue.as_ref().filter(|_| hooks.has(&occasion)) else {
                    continue;
                };
                match fork(py, library) {
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
                if library.is_none() {
                    let generation = inherited.settings.generation;
                    ending::watch(py, &format!("generation={generation}"));
                }
                return 0;
            }
            ForkServerTask::Start(..) => crate::error!("the arbiter started a generation twice"),
        }
    }
}

/// Forks; with the pipes for what the worker prints, where that is captured.
fn fork_with_pipes(
    py: Python<'_>,
    library: Option<Library>,
    config: &Config,
) -> PyResult<(u32, Option<OutputPipes>)> {
    let pipes = (config.log.capture_output)
        .then(OutputPipes::create)
        .transpose()?;
    Ok((fork(py, library)?, pipes))
}

fn worker_title(start: &WorkerStart) -> String {
    let settings = &start.inherited.settings;
    format!(
        "rgunicorn: worker {} generation {} [{}]",
        start.worker, settings.generation, settings.config.proc_name
    )
}

/// Forks through the interpreter, so that what it and the app registered with `os.register_at_fork` runs. Zero in the
/// child, which begins with all other signals at their default: until the worker can drain, SIGTERM ends it.
fn fork(py: Python<'_>, library: Option<Library>) -> PyResult<u32> {
    // A patched `os.fork` would have the library's hub wait for the child, which is ours to wait for.
    let module = py.import(if library.is_some() { "posix" } else { "os" })?;
    fork_blocked(
        || module.call_method0("fork")?.extract::<u32>(),
        |pid| *pid == 0,
        || {
            // It fails for numbers that are no signals only.
            let _ = restore_defaults(&ForkServer::SIGNALS);
            let _ = disregard(&FOR_THE_ARBITER);
        },
    )
}
