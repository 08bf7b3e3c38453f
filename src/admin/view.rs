//! What the shell tells of the server. Published anew whenever it changed; moments are nanoseconds of CLOCK_MONOTONIC, so that a
//! view does not change by itself.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use serde::{Deserialize, Serialize};

use crate::config::{Change, EffectiveValue, LogLevel};

/// The server at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The name in process titles.
    pub name: String,
    pub config_file: Option<String>,
    pub started_ns: u64,
    pub state: ServerState,
    /// How many workers the serving generation is to have.
    pub workers_wanted: u16,
    pub addresses: Vec<String>,
    /// The same, with their sockets.
    pub listeners: Vec<Listener>,
    pub log_level: LogLevel,
    /// The configuration in force.
    pub effective: Arc<[EffectiveValue]>,
    /// In the order of their start.
    pub generations: Vec<Generation>,
    /// Of all generations, in the order of their start.
    pub workers: Vec<Worker>,
    /// The last ones, oldest first.
    pub reloads: Vec<Reload>,
    /// The last one that was asked for.
    pub upgrade: Option<Upgrade>,
    /// The last time that workers could not be brought up, for whoever ordered them.
    pub scale_failure: Option<ScaleFailure>,
    /// Why workers are missing for longer than they boot, in one line.
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// The first workers boot.
    Starting,
    Serving,
    Stopping,
}

/// A listening socket of the server.
#[derive(Debug, Clone)]
pub struct Listener {
    /// As the log names it.
    pub address: String,
    /// Weak: the shell alone says for how long it is open.
    pub socket: Weak<OwnedFd>,
}

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && self.socket.ptr_eq(&other.socket)
    }
}

/// One applied configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub generation: u64,
    pub state: GenerationState,
    /// `None` when its process is gone.
    pub pid: Option<u32>,
    pub started_ns: u64,
    /// How many workers it has, or would have, while it serves.
    pub workers_wanted: u16,
    /// Which reading of the configuration it runs; 0 is that of the start.
    pub reload: u64,
    /// Version of the interpreter.
    pub python: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Its workers come up to take the places of the serving ones.
    Booting,
    Serving,
    /// Replaced, and kept to come back should the serving one fail its probation.
    Parked,
    /// Its workers finish what they have.
    Draining,
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub worker: u64,
    pub generation: u64,
    /// 0 until it is forked.
    pub pid: u32,
    /// Its place in the scoreboard.
    pub slot: u32,
    pub state: WorkerState,
    pub started_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Booting,
    Ready,
    /// Serves until its successor is ready.
    Retiring,
    /// Finishes what it has.
    Draining,
    /// Made no progress for `timeouts.worker`.
    Stuck,
    /// Was told to end at once.
    Ending,
}

/// A reading of the configuration and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// Numbered from 1.
    pub reload: u64,
    /// What changed and why it was read, in the words of the log.
    pub told: String,
    /// Against what ran or was being rolled in.
    pub changes: Vec<Change>,
    /// Microseconds since the UNIX epoch.
    pub at_us: i64,
    pub began_ns: u64,
    /// Set once it is decided.
    pub ended_ns: Option<u64>,
    /// The generation that was started for it.
    pub generation: Option<u64>,
    pub outcome: Outcome,
    /// Why, in one line.
    pub reason: Option<String>,
    /// The configuration's problems or the app's traceback.
    pub problems: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Under way.
    Pending,
    Done,
    /// Nothing differed.
    Unchanged,
    /// What ran before runs on.
    Rejected,
    /// A later reload took its place before it was done.
    Superseded,
    /// It was done, failed its probation, and what ran before runs again.
    RolledBack,
    /// The server stopped before.
    Cancelled,
}

/// The server becoming the program on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// From 1.
    pub upgrade: u64,
    pub outcome: Outcome,
    /// Why it was rejected.
    pub reason: Option<String>,
}

/// Why as many workers as were ordered do not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleFailure {
    /// The last order before it; they are numbered from 1.
    pub scale: u64,
    /// In one line, with what the server does now.
    pub reason: String,
    /// The app's traceback.
    pub problems: Option<String>,
}

impl Outcome {
    /// As people are told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pending => "under way",
            Self::Done => "done",
            Self::Unchanged => "changed nothing",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled back",
            Self::Cancelled => "cancelled",
        }
    }
}

impl View {
    /// Takes connections.
    pub fn is_serving_worker(&self, worker: &Worker) -> bool {
        matches!(worker.state, WorkerState::Ready | WorkerState::Retiring)
    }

    /// Workers that take connections, of the generation that serves.
    pub fn workers_ready(&self) -> usize {
        let Some(serving) = self.generation(GenerationState::Serving) else {
            return 0;
        };
        let workers = self.workers.iter();
        workers
            .filter(|worker| worker.generation == serving.generation)
            .filter(|worker| self.is_serving_worker(worker))
            .count()
    }

    /// The one generation in a state that one at most can be in.
    pub fn generation(&self, state: GenerationState) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.state == state)
    }
}
