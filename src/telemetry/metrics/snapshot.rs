//! All that the metrics tell, read at one moment.

use std::sync::atomic::Ordering::Relaxed;

use crate::wire::{Gauges, LogCount, ReloadOutcome, Scoreboard, Totals, WorkerEnd, WorkerState};

/// What is counted by state, now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// That run the app; 0 where apps run inside event loops.
    pub threads: u64,
    pub threads_busy: u64,
    /// Requests that are with the app, WebSockets not included.
    pub in_app: u64,
    /// Complete requests that wait for a thread.
    pub waiting: u64,
    pub idle: u64,
    pub reading: u64,
    pub writing: u64,
    pub closing: u64,
    pub websockets: u64,
}

impl Now {
    fn add(&mut self, gauges: &Gauges) {
        let read = |gauge: &std::sync::atomic::AtomicU32| u64::from(gauge.load(Relaxed));
        let (threads, websockets) = (read(&gauges.threads), read(&gauges.websockets));
        let in_app = read(&gauges.in_app).saturating_sub(websockets);
        self.threads += threads;
        self.threads_busy += in_app.min(threads);
        self.in_app += in_app;
        self.waiting += read(&gauges.waiting);
        self.idle += read(&gauges.idle);
        self.reading += read(&gauges.reading);
        self.writing += read(&gauges.writing);
        self.closing += read(&gauges.closing);
        self.websockets += websockets;
    }
}

impl Now {
    pub fn threads_idle(&self) -> u64 {
        self.threads.saturating_sub(self.threads_busy)
    }

    /// Connections by what they are doing.
    pub fn connections(&self) -> [(&'static str, u64); 7] {
        [
            ("idle", self.idle),
            ("reading", self.reading),
            ("waiting", self.waiting),
            ("app", self.in_app),
            ("writing", self.writing),
            ("closing", self.closing),
            ("websocket", self.websockets),
        ]
    }
}

/// Workers by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers {
    pub booting: u64,
    pub ready: u64,
    pub draining: u64,
    /// As the configuration and TTIN and TTOU say.
    pub wanted: u64,
}

impl Workers {
    pub fn by_state(&self) -> [(&'static str, u64); 3] {
        [
            ("booting", self.booting),
            ("ready", self.ready),
            ("draining", self.draining),
        ]
    }
}

/// Connections that wait to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// As the log names it.
    pub address: String,
    pub waiting: u64,
    /// How many may wait.
    pub limit: u64,
}

/// Resident bytes of the processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    pub arbiter: u64,
    /// Of all generations together.
    pub generations: u64,
    /// By slot: one that is used again goes on where the worker before left off, so that there are never more than
    /// workers at once.
    pub workers: Vec<(usize, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub version: &'static str,
    pub generation: u64,
    /// Of the configuration in force; the same for the same settings.
    pub config_hash: u32,
    pub totals: Totals,
    pub now: Now,
    pub workers: Workers,
    pub worker_ends: Vec<(WorkerEnd, u64)>,
    pub reloads: Vec<(ReloadOutcome, u64)>,
    pub last_reload_failed: bool,
    /// Microseconds since the UNIX epoch.
    pub started_us: u64,
    pub reloaded_us: u64,
    /// Lines of the error log: warnings, errors, critical ones.
    pub log_lines: [u64; 3],
    pub backlogs: Vec<Backlog>,
    pub memory: Memory,
}

impl Snapshot {
    /// What the scoreboard tells; the rest is the arbiter's to add.
    pub fn of(board: &Scoreboard) -> Self {
        let server = board.server();
        let mut snapshot = Self {
            version: env!("CARGO_PKG_VERSION"),
            totals: board.totals(),
            worker_ends: WorkerEnd::ALL.map(|end| (end, server.ends(end))).into(),
            reloads: ReloadOutcome::ALL
                .map(|outcome| (outcome, server.reloads(outcome)))
                .into(),
            config_hash: server.config_hash(),
            last_reload_failed: server.last_reload_failed(),
            started_us: server.started_us(),
            reloaded_us: server.reloaded_us(),
            log_lines: [LogCount::Warning, LogCount::Error, LogCount::Critical]
                .map(|count| server.lines(count)),
            ..Self::default()
        };
        for slot in board.slots_in_use() {
            let workers = &mut snapshot.workers;
            match slot.state() {
                WorkerState::Free => continue,
                WorkerState::Booting => workers.booting += 1,
                WorkerState::Ready => workers.ready += 1,
                WorkerState::Draining => workers.draining += 1,
            }
            snapshot.now.add(&slot.gauges);
        }
        snapshot
    }
}
