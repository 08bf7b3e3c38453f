//! The words between the core and its shell: facts in, orders out. Both enums are closed: this page lists everything
//! that can wake the arbiter and everything it can do.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use super::{Counts, Misconduct, Moment, Order, Why};

/// Numbered from 1 in the order of their start, failed ones included: a number is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GenerationId(pub u64);

/// Numbered from 1 across all generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// One reading of the configuration; the first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReloadId(pub u64);

/// What the core has to know of a configuration; the shell keeps the rest, by [`ReloadId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    pub workers: u16,
    /// How many workers beyond `workers` a roll may run at once; at least 1.
    pub surge: u16,
    /// From the start of a process to ready.
    pub boot: Duration,
    /// What a draining worker may take.
    pub graceful: Duration,
    /// No progress for this long makes a worker stuck; zero: never.
    pub stall: Duration,
    /// How long the generation is watched once it serves, and the one before kept; zero: not at all.
    pub probation: Duration,
}

/// The least that makes a running configuration the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// What runs takes it up, and goes on.
    Live,
    /// More or fewer workers of the same generation.
    Scale,
    /// A new generation.
    Roll,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Whoever knew is gone too.
    Unknown,
}

/// How the server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Requests in flight are finished (TERM).
    Graceful,
    /// Now (INT, QUIT).
    Quick,
}

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed; maybe a deadline.
    Tick,
    /// A valid configuration was read, or the same one again and a roll was asked for (then both changes are `Roll`).
    Edited {
        reload: ReloadId,
        rules: Rules,
        from_serving: Change,
        /// Against the candidate's configuration; not looked at when there is none.
        from_candidate: Change,
    },
    /// The generation can fork.
    Prepared(GenerationId),
    /// The generation says that it cannot serve, and is about to exit.
    Failed {
        generation: GenerationId,
        reason: String,
    },
    GenerationExited {
        generation: GenerationId,
        exit: Exit,
    },
    /// One of the hooks that the generation runs is done; more may wait.
    HookEnded(GenerationId),
    Forked(WorkerId),
    NotForked {
        worker: WorkerId,
        reason: String,
    },
    Ready(WorkerId),
    /// Somebody else told the worker to drain, or it decided so.
    Leaves(WorkerId),
    WantsRetirement {
        worker: WorkerId,
        why: Retirement,
    },
    /// Every thread of the worker has been busy, and nothing completed, since then.
    Stalled {
        worker: WorkerId,
        since: Moment,
    },
    /// What the workers of the generation answered so far.
    Counted {
        generation: GenerationId,
        counts: Counts,
    },
    WorkerExited {
        worker: WorkerId,
        exit: Exit,
    },
    /// TTIN.
    OneMore,
    /// TTOU.
    OneFewer,
    /// So many workers are wanted, until the file changes `workers`, or one of those that are more cannot boot.
    Scale(u16),
    Stop(Stop),
}

/// Why a healthy worker is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retirement {
    /// `limits.max_requests`
    Requests,
    /// `limits.worker_memory`
    Memory,
}

/// Orders, to be carried out in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a generation with the configuration of that reload.
    Spawn {
        generation: GenerationId,
        reload: ReloadId,
    },
    /// Tell the generation to fork a worker into the slot, which is free.
    Fork {
        generation: GenerationId,
        worker: WorkerId,
        slot: u32,
    },
    /// Tell the generation to fork no more and to leave after its last child.
    Retire(GenerationId),
    /// SIGABRT the generation's process, so that it writes where it hangs.
    AbortGeneration(GenerationId),
    /// SIGKILL the generation's process.
    KillGeneration(GenerationId),
    Signal {
        worker: WorkerId,
        order: Order,
    },
    /// The worker was reaped or never was: its slot is free.
    Release {
        worker: WorkerId,
        slot: u32,
    },
    /// The generation died before it said whether it forked this worker: should one run in the slot, kill it.
    Abandon {
        worker: WorkerId,
        slot: u32,
    },
    /// The generation, and the configuration of that reload, are now the ones that serve.
    Commit {
        generation: GenerationId,
        reload: ReloadId,
    },
    /// The serving generation goes on under the configuration of that reload.
    Adopt {
        generation: GenerationId,
        reload: ReloadId,
    },
    /// The candidate's booting goes on under the configuration of that reload.
    AdoptForCandidate {
        generation: GenerationId,
        reload: ReloadId,
    },
    /// Nothing of this generation runs any more, and it is not coming back.
    Forget(GenerationId),
    /// Tell the workers that nobody is left to hand a connection to.
    AnnounceStop,
    /// Everything is gone: leave with this exit code.
    Finish(u8),
    Report(Report),
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The reload changes nothing.
    Unchanged(ReloadId),
    /// Done without a new generation.
    Adopted {
        reload: ReloadId,
        change: Change,
    },
    /// A candidate was started.
    Rolling {
        reload: ReloadId,
        generation: GenerationId,
        superseded: Option<GenerationId>,
    },
    /// The edit went back to what serves, so the candidate was cancelled.
    TakenBack {
        reload: ReloadId,
        superseded: GenerationId,
    },
    /// The candidate is the serving generation now.
    Serving {
        reload: ReloadId,
        generation: GenerationId,
        replaced: Option<GenerationId>,
        workers: u16,
        took: Duration,
        /// For how long it is on probation.
        probation: Option<Duration>,
    },
    /// The generation passed its probation; the one kept for a rollback goes.
    Proven {
        generation: GenerationId,
        dismissed: GenerationId,
    },
    /// The generation did not pass its probation: the one before comes back.
    RollingBack {
        reload: ReloadId,
        generation: GenerationId,
        misconduct: Misconduct,
        back_to: GenerationId,
        back_to_reload: ReloadId,
    },
    /// It came back and serves.
    RolledBack {
        reload: ReloadId,
        generation: GenerationId,
        replaced: GenerationId,
        workers: u16,
        took: Duration,
    },
    /// The process kept for a rollback died.
    ParkedDied {
        generation: GenerationId,
        exit: Exit,
    },
    /// The candidate was undone.
    Undone {
        /// It was to come back.
        returned: bool,
        reload: ReloadId,
        generation: GenerationId,
        failure: Failure,
        /// Which goes on; `None`: the server ends.
        serving: Option<GenerationId>,
    },
    Worker {
        generation: GenerationId,
        worker: WorkerId,
        report: WorkerReport,
    },
    /// Workers die young or cannot boot: the next is started only after the delay.
    BackingOff {
        generation: GenerationId,
        failures: u32,
        /// The last one.
        failure: Failure,
        delay: Duration,
        /// How many serve on, all generations together.
        serving: usize,
        wanted: u16,
    },
    /// The generations that were to take the serving one's place failed: the next is started only after the delay.
    RevivalDelayed {
        failures: u32,
        delay: Duration,
    },
    /// The process of the serving generation died; its workers go on.
    ServingGenerationDied {
        generation: GenerationId,
        exit: Exit,
    },
    /// The process of the serving generation is gone: this one takes its place.
    Reviving {
        generation: GenerationId,
    },
    /// TTIN, TTOU or an order.
    Scaled {
        workers: u16,
    },
    /// One of the workers that were to be more could not boot: so many are wanted again.
    ScaleUndone {
        generation: GenerationId,
        workers: u16,
        failure: Failure,
    },
    Stopping {
        stop: Stop,
    },
    /// A generation did not leave after its last worker did.
    GenerationOverdue(GenerationId),
}

/// What an operator should know of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerReport {
    NotForked {
        reason: String,
    },
    Ready {
        took: Duration,
    },
    /// It reached a limit: a successor is started.
    Retires(Retirement),
    Stuck {
        stalled: Duration,
    },
    /// A time allowed for something ran out; what follows is the next order.
    Overdue {
        order: Order,
        why: Why,
        after: Duration,
    },
    Died {
        exit: Exit,
        /// The arbiter's own reason, when it had one.
        why: Option<Why>,
        uptime: Duration,
    },
}

/// Why a candidate, or a worker, could not be brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// It said so itself (the app did not import).
    Said {
        reason: String,
        exit: Exit,
    },
    /// Its process ended.
    Died {
        exit: Exit,
    },
    /// It did not become able to fork within `timeouts.boot`.
    NotPrepared {
        after: Duration,
    },
    NotForked {
        reason: String,
    },
    WorkerDied {
        worker: WorkerId,
        exit: Exit,
    },
    /// A worker was not ready within `timeouts.boot`.
    WorkerNotReady {
        worker: WorkerId,
        after: Duration,
    },
}

impl Failure {
    /// The exit code of a server whose first generation fails so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Said {
                exit: Exit::Code(APP_ATTRIBUTE_MISSING),
                ..
            }
            | Self::Died {
                exit: Exit::Code(APP_ATTRIBUTE_MISSING),
            }
            | Self::WorkerDied {
                exit: Exit::Code(APP_ATTRIBUTE_MISSING),
                ..
            } => APP_ATTRIBUTE_MISSING as u8,
            // Its process could not even be started.
            Self::Said {
                exit: Exit::Code(1),
                ..
            } => 1,
            Self::Said { .. }
            | Self::WorkerDied {
                exit: Exit::Code(APP_NOT_BOOTED | APP_SICK),
                ..
            }
            | Self::Died {
                exit: Exit::Code(APP_NOT_BOOTED),
            } => APP_NOT_BOOTED as u8,
            Self::Died { .. }
            | Self::NotPrepared { .. }
            | Self::NotForked { .. }
            | Self::WorkerDied { .. }
            | Self::WorkerNotReady { .. } => 1,
        }
    }
}

/// Exit status of a process whose app could not boot, as in Gunicorn (`Arbiter.WORKER_BOOT_ERROR`).
const APP_NOT_BOOTED: i32 = 3;
/// Exit status of a worker that failed its health check (`wire::EXIT_SICK`): to the outside, its app did not boot.
const APP_SICK: i32 = 5;
/// Exit status of a process whose app attribute is missing or not callable (`Arbiter.APP_LOAD_ERROR`).
const APP_ATTRIBUTE_MISSING: i32 = 4;
