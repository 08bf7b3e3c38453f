//! What happened to the server as a whole since it was started, an upgrade of the program included: how workers ended,
//! what came of reloads, what was logged. In shared memory, because every process logs, and because it is read by others
//! than those who write it. Nothing here is on the way of a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum WorkerEnd {
    /// By a worker of a newer generation.
    Replaced,
    /// `limits.max_requests`
    MaxRequests,
    /// `limits.worker_memory`
    Memory,
    /// Fewer workers were wanted.
    Scaled,
    /// Its generation was a candidate that failed or was superseded.
    Undone,
    /// `timeouts.boot`
    BootTimeout,
    /// `timeouts.worker`
    Stuck,
    /// The server stops.
    Stopping,
    /// Somebody else than the arbiter told it to leave.
    Outside,
    /// It died of a signal that the arbiter did not send.
    Signal,
    /// It exited by itself.
    Exit,
}

impl WorkerEnd {
    pub const ALL: [Self; 11] = [
        Self::Replaced,
        Self::MaxRequests,
        Self::Memory,
        Self::Scaled,
        Self::Undone,
        Self::BootTimeout,
        Self::Stuck,
        Self::Stopping,
        Self::Outside,
        Self::Signal,
        Self::Exit,
    ];

    /// As a label of a metric.
    pub fn word(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::MaxRequests => "max_requests",
            Self::Memory => "memory",
            Self::Scaled => "scaled",
            Self::Undone => "undone",
            Self::BootTimeout => "boot_timeout",
            Self::Stuck => "stuck",
            Self::Stopping => "stopping",
            Self::Outside => "outside",
            Self::Signal => "signal",
            Self::Exit => "exit",
        }
    }
}

/// What came of a reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ReloadOutcome {
    /// It is in force.
    Done,
    /// It says what was in force already.
    Unchanged,
    /// It cannot be used; what was in force goes on.
    Rejected,
    /// A newer edit came before it was in force.
    Superseded,
    /// It was in force, and did not pass its probation.
    RolledBack,
}

impl ReloadOutcome {
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Unchanged,
        Self::Rejected,
        Self::Superseded,
        Self::RolledBack,
    ];

    /// As a label of a metric.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether what the file says is what runs.
    fn is_success(self) -> bool {
        match self {
            Self::Done | Self::Unchanged => true,
            Self::Rejected | Self::Superseded | Self::RolledBack => false,
        }
    }
}

/// Lines of the error log that tell of something wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum LogCount {
    Warning,
    /// Those with a traceback or a report below included.
    Error,
    Critical,
    /// Of the errors, those with text below.
    Exception,
}

/// What happened to the server as a whole.
#[repr(C, align(64))]
pub struct ServerCounts {
    worker_ends: [AtomicU64; WorkerEnd::ALL.len()],
    reloads: [AtomicU64; ReloadOutcome::ALL.len()],
    log_lines: [AtomicU64; LogCount::Exception as usize + 1],
    /// Microseconds since the UNIX epoch; 0: not yet.
    started_us: AtomicU64,
    /// Of the last reload that was a success.
    reloaded_us: AtomicU64,
    /// 1 when the last reload was none.
    last_reload_failed: AtomicU64,
    config_hash: AtomicU64,
}

impl ServerCounts {
    /// The server starts.
    pub fn start(&self, now_us: u64) {
        self.started_us.store(now_us, Relaxed);
        self.reloaded_us.store(now_us, Relaxed);
    }

    pub fn count_end(&self, end: WorkerEnd) {
        self.worker_ends[end as usize].fetch_add(1, Relaxed);
    }

    pub fn count_reload(&self, outcome: ReloadOutcome, now_us: u64) {
        self.reloads[outcome as usize].fetch_add(1, Relaxed);
        if outcome == ReloadOutcome::Superseded {
            return; // what superseded it will tell
        }
        self.last_reload_failed
            .store(u64::from(!outcome.is_success()), Relaxed);
        if outcome.is_success() {
            self.reloaded_us.store(now_us, Relaxed);
        }
    }

    pub fn count_line(&self, count: LogCount) {
        self.log_lines[count as usize].fetch_add(1, Relaxed);
    }

    pub fn ends(&self, end: WorkerEnd) -> u64 {
        self.worker_ends[end as usize].load(Relaxed)
    }

    pub fn reloads(&self, outcome: ReloadOutcome) -> u64 {
        self.reloads[outcome as usize].load(Relaxed)
    }

    pub fn lines(&self, count: LogCount) -> u64 {
        self.log_lines[count as usize].load(Relaxed)
    }

    pub fn set_config_hash(&self, hash: u32) {
        self.config_hash.store(hash.into(), Relaxed);
    }

    /// Of the configuration in force.
    pub fn config_hash(&self) -> u32 {
        self.config_hash.load(Relaxed) as u32
    }

    /// Microseconds since the UNIX epoch.
    pub fn started_us(&self) -> u64 {
        self.started_us.load(Relaxed)
    }

    /// When what is in force was read, microseconds since the UNIX epoch.
    pub fn reloaded_us(&self) -> u64 {
        self.reloaded_us.load(Relaxed)
    }

    /// Whether what is in force is not what was asked for last.
    pub fn last_reload_failed(&self) -> bool {
        self.last_reload_failed.load(Relaxed) == 1
    }
}
