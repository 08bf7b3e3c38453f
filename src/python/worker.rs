//! A worker: the app, imported, and the reactor that serves it.

use std::os::fd::AsFd;

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use pyo3::prelude::*;

use super::app::{self, EXIT_BOOT};
use crate::{generation::WorkerStart, sys::SignalBell, wire::WorkerState};

/// Runs in the forked child until the worker is done; returns its exit code. `preloaded` is the app, if the generation
/// has imported it.
pub(super) fn run(py: Python<'_>, start: WorkerStart, preloaded: Option<Py<PyAny>>) -> i32 {
    let config = &start.settings.config;
    let loaded = match preloaded {
        Some(app) => Ok(app),
        None => app::load(py, &config.app),
    };
    let _app = match loaded {
        Ok(app) => app,
        Err(error) => {
            let generation = start.settings.generation;
            let who = format!("generation={generation} worker={}", start.worker);
            py.detach(|| error.log(&who, &config.app));
            return error.exit_code();
        }
    };
    py.detach(|| serve(&start))
}

fn serve(start: &WorkerStart) -> i32 {
    let Ok(signals) = SignalBell::install(&[Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT])
    else {
        return EXIT_BOOT;
    };
    let slot = &start.scoreboard.slots()[start.slot as usize];
    slot.set_pid(std::process::id());
    slot.set_state(WorkerState::Ready);
    start.bell.ring();
    loop {
        let mut entries = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(start.lifeline.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut entries, PollTimeout::NONE);
        let lifeline_ended = entries[1].any() == Some(true);
        if lifeline_ended || !signals.take().is_empty() {
            return 0;
        }
    }
}
