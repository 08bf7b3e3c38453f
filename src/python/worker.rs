//! A worker: the app, imported, and the crew that serves it.

use std::sync::Arc;

use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use pyo3::prelude::*;

use super::{
    app::{self, EXIT_BOOT},
    driver::{
        greenlets::{self, Green},
        threads::{self, Interrupter, Seating, Threads},
    },
    green::Library,
};
use crate::{
    config::Config,
    generation::WorkerStart,
    sys::{self, SignalBell},
    telemetry::{AccessFormat, AccessLog, Origin},
    worker::{Acceptor, Crew, Equipment, Hub, Listener, Lobby, Reactor, Settings},
};

/// What the arbiter says to a worker.
const SIGNALS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// Runs in the forked child until the worker is done; returns its exit code. `preloaded` is the app, if the generation
/// has imported it.
pub(super) fn run(py: Python<'_>, start: WorkerStart, preloaded: Option<Py<PyAny>>) -> i32 {
    let generation = start.settings.generation;
    let who = format!("generation={generation} worker={}", start.worker);
    start.scoreboard.slots()[start.slot as usize].set_pid(std::process::id());
    let config = start.settings.config.clone();
    if let Some(library) = Library::of(config.worker_class)
        && let Err(error) = library.after_fork(py)
    {
        py.detach(|| crate::critical!("{who} cannot serve: {error}"));
        return EXIT_BOOT;
    }
    let app = match preloaded {
        Some(app) => app,
        None => match app::load(py, &config.app) {
            Ok(app) => app,
            Err(error) => {
                py.detach(|| error.log(&who, &config.app));
                return error.exit_code();
            }
        },
    };
    match serve(py, start, app, config) {
        Ok(()) => 0,
        Err(error) => {
            py.detach(|| crate::critical!("{who} cannot serve: {error}"));
            EXIT_BOOT
        }
    }
}

fn serve(py: Python<'_>, start: WorkerStart, app: Py<PyAny>, config: Config) -> PyResult<()> {
    let slot = start.slot as usize;
    let board = Arc::new(start.scoreboard);
    let addresses = start
        .listeners
        .iter()
        .map(|(passed, _)| passed.address.clone())
        .collect();
    let listeners = start
        .listeners
        .into_iter()
        .map(|(passed, socket)| Listener { passed, socket });
    let acceptor = Acceptor::new(listeners.collect(), Arc::clone(&board), slot);
    let lobby = Lobby::new(start.lobby.sender, start.lobby.receiver);
    let reactor = Reactor::new(
        Settings::of(&config),
        acceptor,
        lobby,
        Arc::clone(&board),
        slot,
    )?;
    let format = AccessFormat::of(&config.log.format)
        .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
    let origin = Origin {
        pid: std::process::id(),
        worker: start.worker,
        generation: start.settings.generation,
    };
    let equipment = Equipment {
        board,
        slot,
        bell: start.bell,
        signals: SignalBell::install(&SIGNALS)?,
        lifeline: start.lifeline,
        access_log: AccessLog::new(
            start.access_log,
            format.for_worker(origin, TimeZone::system()),
        ),
        request_timeout: config.timeouts.request,
        requests_max: requests_max(&config),
    };
    if let Some(library) = Library::of(config.worker_class) {
        let hub = Arc::new(Hub::new(reactor, equipment)?);
        let green = Green {
            app,
            hub,
            library,
            config,
            listeners: addresses,
        };
        return greenlets::run(py, green);
    }
    let seats = usize::from(config.threads);
    let threads = Threads::new(seats);
    let crew = Arc::new(Crew::new(
        reactor,
        seats,
        equipment,
        Box::new(Interrupter(Arc::clone(&threads))),
    )?);
    let seating = Seating {
        app,
        crew,
        threads,
        config,
        listeners: addresses,
    };
    threads::run(py, seating)
}

/// `limits.max_requests` and a random part of its jitter, so that workers do not retire all at once. Zero: never.
fn requests_max(config: &Config) -> u64 {
    let limits = &config.limits;
    match limits.max_requests {
        0 => 0,
        most => most + sys::monotonic_ns() % (limits.max_requests_jitter + 1),
    }
}
