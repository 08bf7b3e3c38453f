//! `/status`: the view joined with what the scoreboard and the kernel know now.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::{
    reply::{Reply, Response},
    request::Request,
    situation::Situation,
    view::{
        Generation, GenerationState, Outcome, Reload, ServerState, Upgrade, Worker, WorkerState,
    },
};
use crate::config::LogLevel;

/// All of it. Ages and times are in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Of the arbiter.
    pub pid: u32,
    pub name: String,
    pub config_file: Option<String>,
    pub state: ServerState,
    pub uptime_seconds: f64,
    pub memory_bytes: Option<u64>,
    pub workers_ready: usize,
    pub workers_wanted: u16,
    /// Why workers are missing for longer than they boot.
    pub trouble: Option<String>,
    pub addresses: Vec<String>,
    pub log_level: LogLevel,
    pub generations: Vec<GenerationStatus>,
    pub workers: Vec<WorkerStatus>,
    /// The last one.
    pub reload: Option<ReloadStatus>,
    /// The last one.
    pub upgrade: Option<Upgrade>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationStatus {
    pub generation: u64,
    pub state: GenerationState,
    /// `null` when its process is gone.
    pub pid: Option<u32>,
    pub age_seconds: f64,
    pub memory_bytes: Option<u64>,
    /// How many of its workers run.
    pub workers: usize,
    pub python: String,
    /// Whose configuration it runs; 0 is that of the start.
    pub reload: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    pub worker: u64,
    pub pid: u32,
    pub generation: u64,
    pub state: WorkerState,
    pub age_seconds: f64,
    pub memory_bytes: Option<u64>,
    /// That it has answered.
    pub requests: u64,
    /// Of these, with a 5xx status.
    pub errors: u64,
    /// That it holds.
    pub connections: u32,
    /// That are with the app now, the oldest first; at most 64 are shown.
    pub in_flight: Vec<RequestStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestStatus {
    /// Method and target, cut to 112 bytes.
    pub request: String,
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadStatus {
    pub reload: u64,
    /// RFC 3339, UTC.
    pub at: String,
    pub told: String,
    pub outcome: Outcome,
    pub reason: Option<String>,
    /// The configuration's problems or the app's traceback.
    pub problems: Option<String>,
    pub took_seconds: Option<f64>,
    /// The generation that was started for it.
    pub generation: Option<u64>,
}

pub(super) fn status(_: &Request, situation: &mut Situation<'_>) -> Reply {
    Response::json(200, &Status::now(situation)).into()
}

impl Status {
    fn now(situation: &mut Situation<'_>) -> Self {
        let view = std::sync::Arc::clone(&situation.view);
        let pid = std::process::id();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            name: view.name.clone(),
            config_file: view.config_file.clone(),
            state: view.state,
            uptime_seconds: situation.seconds_since(view.started_ns),
            memory_bytes: situation.memory_of(pid),
            workers_ready: view.workers_ready(),
            workers_wanted: view.workers_wanted,
            trouble: view.trouble.clone(),
            addresses: view.addresses.clone(),
            log_level: view.log_level,
            generations: view
                .generations
                .iter()
                .map(|generation| GenerationStatus::now(generation, &view.workers, situation))
                .collect(),
            workers: view
                .workers
                .iter()
                .map(|worker| WorkerStatus::now(worker, situation))
                .collect(),
            reload: view.reloads.last().map(ReloadStatus::of),
            upgrade: view.upgrade.clone(),
        }
    }
}

impl GenerationStatus {
    fn now(generation: &Generation, workers: &[Worker], situation: &mut Situation<'_>) -> Self {
        let own = workers
            .iter()
            .filter(|worker| worker.generation == generation.generation);
        Self {
            generation: generation.generation,
            state: generation.state,
            pid: generation.pid,
            age_seconds: situation.seconds_since(generation.started_ns),
            memory_bytes: generation.pid.and_then(|pid| situation.memory_of(pid)),
            workers: own.count(),
            python: generation.python.clone(),
            reload: generation.reload,
        }
    }
}

impl WorkerStatus {
    fn now(worker: &Worker, situation: &mut Situation<'_>) -> Self {
        let slot = situation.slot(worker.worker, worker.slot);
        let count = |read: fn(&crate::wire::Slot) -> u64| slot.map_or(0, read);
        let mut in_flight = slot
            .map(|slot| slot.requests_in_flight())
            .unwrap_or_default();
        in_flight.sort();
        Self {
            worker: worker.worker,
            pid: worker.pid,
            generation: worker.generation,
            state: worker.state,
            age_seconds: situation.seconds_since(worker.started_ns),
            memory_bytes: Some(worker.pid)
                .filter(|pid| *pid != 0)
                .and_then(|pid| situation.memory_of(pid)),
            requests: count(|slot| slot.requests.load(Relaxed)),
            errors: count(|slot| slot.errors.load(Relaxed)),
            connections: slot.map_or(0, |slot| slot.connections.load(Relaxed)),
            in_flight: in_flight
                .into_iter()
                .map(|(started_ns, request)| RequestStatus {
                    request,
                    seconds: situation.seconds_since(started_ns),
                })
                .collect(),
        }
    }
}

impl ReloadStatus {
    pub(super) fn of(reload: &Reload) -> Self {
        let took = reload
            .ended_ns
            .map(|ended| super::situation::seconds(ended.saturating_sub(reload.began_ns)));
        Self {
            reload: reload.reload,
            at: super::situation::moment_text(reload.at_us),
            told: reload.told.clone(),
            outcome: reload.outcome,
            reason: reload.reason.clone(),
            problems: reload.problems.clone(),
            took_seconds: took,
            generation: reload.generation,
        }
    }
}
