//! The messages between the arbiter and a generation: one JSON object per datagram of a SEQPACKET socket pair,
//! descriptors beside it with `SCM_RIGHTS`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Of all that is said between processes, and between an arbiter and its successor: messages, scoreboard, live page, lobby,
/// signals, the state of an upgrade. To be raised with every change to one of them that another build would misunderstand.
pub const FORMAT: u32 = 7;
/// Exit code of a worker that failed its health check. The others that mean something are Gunicorn's.
pub const EXIT_SICK: i32 = 5;

/// Orders of the arbiter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToGeneration {
    /// First message. Comes with [`StartDescriptors`](super::StartDescriptors) and one descriptor per listener.
    Start(Box<WorkerSettings>),
    /// Fork one worker into this scoreboard slot. Comes with [`ForkDescriptors`](super::ForkDescriptors). Answered by
    /// `Forked`, with a pidfd.
    Fork { worker: u64, slot: u32 },
    /// Fork no more; exit once every child is gone.
    Retire,
    /// All workers are ready and the generation serves. Sent where `hooks.when_ready` is set.
    Serving,
    /// The server stops: this was the serving generation. Sent where `hooks.on_exit` is set, before `Retire`.
    Stopping,
}

/// Facts a generation reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromGeneration {
    /// The interpreter runs and loaded the engine, of this version and [`FORMAT`]. It may be another build than the arbiter's:
    /// every build has to understand this message.
    Hello {
        python: String,
        engine: String,
        #[serde(default)]
        format: u32,
    },
    /// `Start` was carried out; with `preload` the app is imported. `Fork` may follow.
    Prepared,
    /// `Start` failed (with `preload`: the app did not import). The traceback is in the error log already; this is
    /// its last line. The generation exits.
    Failed { reason: String },
    /// Carries the worker's pidfd.
    Forked { worker: u64, pid: u32 },
    /// fork(2) failed.
    NotForked { worker: u64, reason: String },
    /// A child was reaped; `status` is waitpid's raw status, `peak_bytes` the most memory that it ever had resident.
    Exited {
        worker: u64,
        pid: u32,
        status: i32,
        peak_bytes: u64,
    },
    /// The process of a hook was reaped.
    HookEnded,
}

/// All that a generation and its workers need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSettings {
    pub generation: u64,
    /// Shared by all that goes by it: copies would be made in each worker.
    pub config: Arc<Config>,
    /// Whether the generation imports the app before it forks: with `preload`, and where only that is to be tried.
    pub imports_app: bool,
    /// In the order of the descriptors that come along.
    pub listeners: Vec<PassedListener>,
}

/// An open listening socket, kept by the arbiter for as long as any generation uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedListener {
    /// Names the listener across generations, so that a connection handed over keeps its place.
    pub id: u32,
    pub address: ListenerAddress,
}

/// As it is told to people and to apps: of a UNIX socket the path, or `@name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerAddress {
    Tcp(std::net::SocketAddr),
    Unix(String),
}
