//! A worker: the app, imported, and the crew that serves it.

use std::sync::Arc;

use nix::sys::signal::Signal;
use pyo3::prelude::*;

use super::{
    app::{self, EXIT_BOOT},
    asgi,
    driver::{
        greenlets::{self, Green},
        threads::{self, Interrupter, Seating, Threads},
    },
    ending, exception,
    green::{self, Library},
    hooks::{Failed, Glue, RequestHooks, WorkerHooks},
    kind, signals, stacks,
};
use crate::{
    config::{Config, LogLevel, WorkerClass},
    generation::WorkerStart,
    sys::{self, SignalBell},
    telemetry::{self, AccessFormat, AccessLog, Origin},
    wire::{LIVE_SIGNAL, ListenerAddress, StackSheet},
    worker::{Acceptor, Crew, Equipment, Hub, Listener, Lobby, Reactor, Settings, open_files},
};

/// What the arbiter says to a worker.
const SIGNALS: [Signal; 5] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGUSR1,
    LIVE_SIGNAL,
];

/// Runs in the forked child until the worker is done; returns its exit code. `preloaded` is the app, if the generation
/// has imported it.
pub(super) fn run(
    py: Python<'_>,
    start: WorkerStart,
    sheet: StackSheet,
    preloaded: Option<Py<PyAny>>,
    glue: Option<&Glue>,
) -> i32 {
    let generation = start.inherited.settings.generation;
    let who = format!("generation={generation} worker={}", start.worker);
    telemetry::identify(telemetry::Role::Worker, generation, start.worker);
    let inherited = &start.inherited;
    inherited.scoreboard.slots()[start.slot as usize].set_pid(std::process::id());
    let config = Arc::clone(&inherited.settings.config);
    // Before the app, which may look at the limit, or set its own.
    py.detach(|| open_files::make_room(&config.limits));
    let serving = Serving { who, config };
    let served = stacks::write_on(py, sheet)
        .and_then(|()| serving.boot_and_serve(py, start, preloaded, glue));
    // Where threads are greenlets, nobody would switch to one more.
    if Library::of(serving.config.worker_class).is_none() {
        ending::watch(py, &serving.who);
    }
    match served {
        Ok(code) => code,
        Err(error) => {
            let told = exception::in_one_line(py, &error);
            let headline = format!("{} cannot serve: {told}", serving.who);
            exception::log(py, LogLevel::Critical, &headline, &error);
            EXIT_BOOT
        }
    }
}

struct Serving {
    /// The beginning of its log lines.
    who: String,
    config: Arc<Config>,
}

/// What a worker of any class works with.
struct Gear {
    reactor: Reactor,
    equipment: Equipment,
    addresses: Vec<ListenerAddress>,
}

impl Serving {
    /// The way from the fork to the end, with the hooks beside it.
    fn boot_and_serve(
        &self,
        py: Python<'_>,
        start: WorkerStart,
        preloaded: Option<Py<PyAny>>,
        glue: Option<&Glue>,
    ) -> PyResult<i32> {
        if let Some(library) = Library::of(self.config.worker_class) {
            library.after_fork(py)?;
        }
        let Some(glue) = glue else {
            return self.load_and_serve(py, start, preloaded, None);
        };
        let settings = &start.inherited.settings;
        let hooks = match WorkerHooks::load(py, glue, settings, start.worker, &self.who) {
            Ok(hooks) => hooks,
            Err(error) => {
                py.detach(|| error.log(&self.who));
                return Ok(EXIT_BOOT);
            }
        };
        if let Err(Failed) = hooks.post_fork(py) {
            return Ok(EXIT_BOOT);
        }
        let served = self.load_and_serve(py, start, preloaded, Some(&hooks));
        hooks.worker_exit(py, self.config.timeouts.graceful);
        served
    }

    fn load_and_serve(
        &self,
        py: Python<'_>,
        start: WorkerStart,
        preloaded: Option<Py<PyAny>>,
        hooks: Option<&WorkerHooks>,
    ) -> PyResult<i32> {
        // An app that asks for "the" event loop when it is imported gets the one that will run.
        let mut own_loop = None;
        if self.config.worker_class == WorkerClass::Asgi {
            own_loop = Some(asgi::Loop::new(py, self.config.event_loop)?);
        }
        let app = match preloaded {
            Some(app) => app,
            None => match app::load(py, &self.config) {
                Ok(app) => app,
                Err(error) => {
                    py.detach(|| error.log(&self.who, &format!("`{}`", self.config.app.text)));
                    return Ok(error.exit_code());
                }
            },
        };
        let choice = kind::choose(py, &self.config, &app)?;
        if start.is_first {
            py.detach(|| choice.tell(&self.who));
        }
        if let Some(hooks) = hooks {
            if let Err(Failed) = hooks.worker_init(py) {
                return Ok(EXIT_BOOT);
            }
            hooks.watch_for_abort(py)?;
        }
        let hooks = hooks.and_then(WorkerHooks::requests);
        match choice.class {
            WorkerClass::Asgi => {
                let own_loop = match own_loop {
                    Some(own_loop) => own_loop,
                    None => asgi::Loop::new(py, self.config.event_loop)?,
                };
                self.serve_in_loop(py, start, app, hooks, &own_loop)
            }
            WorkerClass::Gevent => self.serve_in_greenlets(py, start, app, hooks, Library::Gevent),
            WorkerClass::Eventlet => {
                self.serve_in_greenlets(py, start, app, hooks, Library::Eventlet)
            }
            WorkerClass::Auto | WorkerClass::Sync | WorkerClass::Gthread => {
                if !self.has_real_threads(py)? {
                    return Ok(EXIT_BOOT);
                }
                self.serve_with_threads(py, start, app, hooks).map(|()| 0)
            }
        }
    }

    /// Several threads that are greenlets would wait for each other for ever, so that is told.
    fn has_real_threads(&self, py: Python<'_>) -> PyResult<bool> {
        if self.config.threads == 1 {
            return Ok(true);
        }
        let Some(library) = green::patched_threads(py)? else {
            return Ok(true);
        };
        let Serving { who, .. } = self;
        py.detach(|| {
            crate::error!(
                "{who} cannot serve with `threads`: the app has patched the standard library for {library}, which makes threads \
                 greenlets; set `worker_class = \"{library}\"` instead of `threads`, or take the patch out of the app"
            );
        });
        Ok(false)
    }

    fn serve_with_threads(
        &self,
        py: Python<'_>,
        start: WorkerStart,
        app: Py<PyAny>,
        hooks: Option<Arc<RequestHooks>>,
    ) -> PyResult<()> {
        let gear = self.gear(py, start, Settings::of(&self.config))?;
        let seats = usize::from(self.config.threads);
        let threads = Threads::new(seats);
        let interrupter = Box::new(Interrupter(Arc::clone(&threads)));
        let wakeups = signals::wakeups(py)?;
        let crew = Crew::new(gear.reactor, seats, gear.equipment, interrupter, wakeups)?;
        let crew = Arc::new(crew);
        let seating = Seating {
            app,
            hooks,
            crew,
            threads,
            config: Arc::clone(&self.config),
            listeners: gear.addresses,
        };
        threads::run(py, seating)
    }

    fn serve_in_greenlets(
        &self,
        py: Python<'_>,
        start: WorkerStart,
        app: Py<PyAny>,
        hooks: Option<Arc<RequestHooks>>,
        library: Library,
    ) -> PyResult<i32> {
        let gear = self.gear(py, start, Settings::of(&self.config))?;
        let green = Green {
            app,
            hooks,
            hub: Arc::new(Hub::new(gear.reactor, gear.equipment)?),
            library,
            config: Arc::clone(&self.config),
            listeners: gear.addresses,
        };
        greenlets::run(py, green).map(|()| 0)
    }

    fn serve_in_loop(
        &self,
        py: Python<'_>,
        start: WorkerStart,
        app: Py<PyAny>,
        hooks: Option<Arc<RequestHooks>>,
        own: &asgi::Loop,
    ) -> PyResult<i32> {
        let stage = asgi::Stage::start(py, own, app, &self.config, &self.who)?;
        let Some(stage) = stage else {
            return Ok(EXIT_BOOT);
        };
        let gear = self.gear(py, start, Settings::of(&self.config).streaming())?;
        let hub = Arc::new(Hub::new(gear.reactor, gear.equipment)?);
        stage.run(py, hub, gear.addresses, hooks).map(|()| 0)
    }

    /// One that arrives in between is not lost.
    fn take_signals(&self, py: Python<'_>) -> PyResult<SignalBell> {
        sys::without_signals(|| {
            let shared = signals::share(py, &self.who)?;
            Ok(SignalBell::install_before(&shared, &SIGNALS)?)
        })
    }

    fn gear(&self, py: Python<'_>, start: WorkerStart, settings: Settings) -> PyResult<Gear> {
        let WorkerStart {
            worker,
            slot,
            inherited,
            ..
        } = start;
        let slot = slot as usize;
        let board = Arc::new(inherited.scoreboard);
        let listeners = inherited.listeners;
        let addresses = listeners
            .iter()
            .map(|(passed, _)| passed.address.clone())
            .collect();
        let listeners = listeners.into_iter().map(|(passed, socket)| Listener {
            passed,
            socket: Some(socket),
        });
        let acceptor = Acceptor::new(listeners.collect(), Arc::clone(&board), slot);
        let lobby = Lobby::new(inherited.lobby.sender, inherited.lobby.receiver);
        let reactor = Reactor::new(settings, acceptor, lobby, Arc::clone(&board), slot)?;
        let format = AccessFormat::of(&self.config.log.format);
        let origin = Origin {
            pid: std::process::id(),
            worker,
            generation: inherited.settings.generation,
        };
        let equipment = Equipment {
            board,
            slot,
            bell: inherited.bell,
            signals: self.take_signals(py)?,
            lifeline: inherited.lifeline,
            access_log: AccessLog::new(
                inherited.access_log,
                format.for_worker(origin, telemetry::zone().clone()),
            ),
            live: inherited.live,
            config: Arc::clone(&self.config),
            live_version: inherited.live_version,
        };
        Ok(Gear {
            reactor,
            equipment,
            addresses,
        })
    }
}
