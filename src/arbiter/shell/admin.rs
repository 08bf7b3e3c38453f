//! What the admin interface is told of the server, and what it orders.

use std::sync::Arc;

use super::Shell;
use crate::{
    admin::{Admin, Generation, GenerationState, ServerState, View, Worker, WorkerState},
    arbiter::core::{self, GenerationId, Moment, State},
    config::{self, Config},
    warning,
    wire::Scoreboard,
};

/// An interface at which nobody can ask yet.
pub(super) fn closed_admin(
    config: &Config,
    board: &Scoreboard,
    started: Moment,
) -> std::io::Result<Admin> {
    let view = View {
        name: config.proc_name.clone(),
        config_file: None,
        started_ns: started.nanoseconds(),
        state: ServerState::Starting,
        workers_wanted: config.workers,
        addresses: Vec::new(),
        listeners: Vec::new(),
        log_level: config.log.level,
        effective: [].into(),
        generations: Vec::new(),
        workers: Vec::new(),
        reloads: Vec::new(),
        upgrade: None,
        scale_failure: None,
        trouble: None,
    };
    let board = Scoreboard::open(board.descriptor().try_clone_to_owned()?)?;
    let admin = Admin::new(view, board)?;
    admin.listen_to_log();
    Ok(admin)
}

impl Shell {
    /// Asked at the sockets of this configuration from now on.
    pub(super) fn open_admin(&mut self, wanted: &config::Admin) {
        let policy = self.doors.settle(wanted);
        if let Err(error) = self.admin.open(self.doors.all(), policy) {
            warning!(
                "no admin interface: its thread cannot be started: {error}; the next reload tries again"
            );
        }
        // It tells the path.
        self.noticed = None;
    }

    /// To be called before the shell waits.
    pub(super) fn tell_admin(&self) {
        self.admin.publish(self.view());
    }

    fn view(&self) -> View {
        let serving = self.serving.and_then(|id| self.readings.get(&id));
        let reading = serving.or_else(|| self.readings.values().next_back());
        let config = reading.map(|reading| &reading.config);
        let listeners = reading.map(|reading| &reading.resources.listeners);
        View {
            name: config
                .map(|config| config.proc_name.clone())
                .unwrap_or_default(),
            config_file: self.loader.path().map(|path| path.display().to_string()),
            started_ns: self.started.nanoseconds(),
            state: match (self.core.is_stopping(), self.serving) {
                (true, _) => ServerState::Stopping,
                (false, None) => ServerState::Starting,
                (false, Some(_)) => ServerState::Serving,
            },
            workers_wanted: (self.core.workers_wanted())
                .or(config.map(|config| config.workers))
                .unwrap_or_default(),
            addresses: listeners
                .map(|listeners| self.listeners.addresses(listeners))
                .unwrap_or_default(),
            listeners: listeners
                .map(|listeners| self.listeners.watched(listeners))
                .unwrap_or_default(),
            log_level: (self.orders.log_level)
                .or(config.map(|config| config.log.level))
                .unwrap_or(config::LogLevel::Info),
            effective: reading
                .map(|reading| Arc::clone(&reading.effective))
                .unwrap_or_default(),
            generations: self.generations_in_view(),
            workers: self.workers_in_view(),
            reloads: self.history.all().cloned().collect(),
            upgrade: self.upgrade.clone(),
            scale_failure: self.orders.scale_failure.clone(),
            trouble: self.trouble.clone(),
        }
    }

    fn generations_in_view(&self) -> Vec<Generation> {
        let generations = self.processes.generations.iter();
        generations
            .map(|(id, handle)| Generation {
                generation: id.0,
                state: self.generation_state(*id),
                pid: handle.process.as_ref().map(|process| process.pid),
                started_ns: self.core.started(*id).map_or(0, Moment::nanoseconds),
                workers_wanted: self.core.workers_wanted_of(*id).unwrap_or_default(),
                reload: handle.reload.0,
                python: self
                    .readings
                    .get(&handle.reload)
                    .map(|reading| reading.resources.interpreter.version.to_string())
                    .unwrap_or_default(),
            })
            .collect()
    }

    fn generation_state(&self, id: GenerationId) -> GenerationState {
        let is = |other: Option<GenerationId>| other == Some(id);
        if is(self.core.serving()) {
            GenerationState::Serving
        } else if is(self.core.candidate()) {
            GenerationState::Booting
        } else if is(self.core.parked()) {
            GenerationState::Parked
        } else {
            GenerationState::Draining
        }
    }

    fn workers_in_view(&self) -> Vec<Worker> {
        let workers = self.core.workers();
        workers
            .map(|(id, worker)| Worker {
                worker: id.0,
                generation: worker.generation.0,
                pid: self.processes.pid_of(id),
                slot: worker.slot,
                state: worker_state(worker),
                started_ns: worker.started.nanoseconds(),
            })
            .collect()
    }
}

fn worker_state(worker: &core::Worker) -> WorkerState {
    match worker.state {
        State::Forking { .. } | State::Booting { .. } => WorkerState::Booting,
        State::Ready { .. } => WorkerState::Ready,
        State::Retiring { .. } => WorkerState::Retiring,
        State::Draining { .. } => WorkerState::Draining,
        State::Stuck { .. } | State::Aborting { .. } => WorkerState::Stuck,
        State::Unwanted { .. } | State::Quitting { .. } | State::Killed { .. } => {
            WorkerState::Ending
        }
    }
}
