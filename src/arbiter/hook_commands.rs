//! `[hooks.commands]`: programs that are run when something happens. The arbiter starts them and goes on; those that take too
//! long are killed, and more than it wants at once wait.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{activation::VARIABLES, core::Moment};
use crate::{
    config::HookCommands,
    sys::{Inheritance, PidFd, describe_exit, reap_any, spawn},
    warning,
};

/// Programs that run at once.
const RUNNING_MAX: usize = 4;
/// Events that wait for their program; what comes on top of them is told to nobody but the log.
const WAITING_MAX: usize = 64;
/// What a program may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What all that still run may take when the server ends.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What programs can be run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookEvent {
    WhenReady,
    ReloadDone,
    ReloadFailed,
    RolledBack,
    WorkerDied,
    ChildExit,
    OnExit,
}

impl HookEvent {
    /// The name of its key, and `HOOK_EVENT`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WhenReady => "when_ready",
            Self::ReloadDone => "reload_done",
            Self::ReloadFailed => "reload_failed",
            Self::RolledBack => "rolled_back",
            Self::WorkerDied => "worker_died",
            Self::ChildExit => "child_exit",
            Self::OnExit => "on_exit",
        }
    }

    pub(super) fn command(self, commands: &HookCommands) -> Option<&Vec<String>> {
        let command = match self {
            Self::WhenReady => &commands.when_ready,
            Self::ReloadDone => &commands.reload_done,
            Self::ReloadFailed => &commands.reload_failed,
            Self::RolledBack => &commands.rolled_back,
            Self::WorkerDied => &commands.worker_died,
            Self::ChildExit => &commands.child_exit,
            Self::OnExit => &commands.on_exit,
        };
        command.as_ref()
    }
}

/// What happened, beside the event itself. None of it is a secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) generation: Option<u64>,
    pub(super) worker: Option<u64>,
    pub(super) worker_pid: Option<u32>,
    pub(super) reload: Option<u64>,
    pub(super) reason: Option<String>,
}

/// A program to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) event: HookEvent,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// Where it runs.
    pub(super) directory: PathBuf,
    pub(super) facts: Facts,
}

#[derive(Debug)]
struct Running {
    event: HookEvent,
    process: PidFd,
    kill_at: Moment,
    was_killed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Commands {
    waiting: VecDeque<Job>,
    /// By pid.
    running: BTreeMap<u32, Running>,
}

impl Commands {
    /// Runs the program as soon as there is room for it.
    pub(super) fn run(&mut self, now: Moment, job: Job) {
        if self.waiting.len() >= WAITING_MAX {
            let event = job.event.name();
            return warning!(
                "hooks.commands.{event} not run: {WAITING_MAX} wait for their turn already"
            );
        }
        self.waiting.push_back(job);
        self.start_waiting(now);
    }

    fn start_waiting(&mut self, now: Moment) {
        while self.running.len() < RUNNING_MAX
            && let Some(job) = self.waiting.pop_front()
        {
            match start(&job) {
                Ok((pid, process)) => {
                    let running = Running {
                        event: job.event,
                        process,
                        kill_at: now + LIMIT,
                        was_killed: false,
                    };
                    self.running.insert(pid, running);
                }
                Err(error) => warning!(
                    "hooks.commands.{} `{}` cannot be run: {error}",
                    job.event.name(),
                    job.words[0]
                ),
            }
        }
    }

    /// A child was reaped. False: it was none of these.
    pub(super) fn on_exit(&mut self, now: Moment, pid: u32, status: i32) -> bool {
        let Some(ended) = self.running.remove(&pid) else {
            return false;
        };
        if status != 0 && !ended.was_killed {
            let (event, how) = (ended.event.name(), describe_exit(status));
            warning!("hooks.commands.{event} pid={pid} ended with {how}");
        }
        self.start_waiting(now);
        true
    }

    /// Kills what has taken too long.
    pub(super) fn enforce(&mut self, now: Moment) {
        for (pid, running) in &mut self.running {
            if !running.was_killed && running.kill_at <= now {
                running.kill(*pid, LIMIT);
            }
        }
    }

    /// When [`Commands::enforce`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let running = self.running.values().filter(|running| !running.was_killed);
        running.map(|running| running.kill_at).min()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// At the end of the server: waits until all are done, and kills those that are not in time.
    pub(super) fn finish(&mut self, now: Moment) {
        let deadline = Instant::now() + END_LIMIT;
        while !self.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut entries: Vec<PollFd<'_>> = self
                .running
                .values()
                .map(|running| PollFd::new(running.process.as_fd(), PollFlags::POLLIN))
                .collect();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            // Interrupted or not: who has ended is looked for, not told.
            let _ = poll(&mut entries, timeout);
            while let Some((pid, status)) = reap_any() {
                self.on_exit(now, pid, status);
            }
        }
        for (pid, running) in &mut self.running {
            running.kill(*pid, END_LIMIT);
        }
    }
}

impl Running {
    fn kill(&mut self, pid: u32, limit: Duration) {
        let event = self.event.name();
        warning!("hooks.commands.{event} pid={pid} was not done after {limit:?}: killed");
        let _gone_already = self.process.signal(Signal::SIGKILL);
        self.was_killed = true;
    }
}

/// With the rights of the arbiter, and its error log for output; where that takes no lines of others, with none.
fn start(job: &Job) -> std::io::Result<(u32, PidFd)> {
    let output = || match crate::telemetry::descriptor() {
        Some(log) => crate::sys::duplicate(log).map(Stdio::from),
        None => Ok(Stdio::null()),
    };
    let mut command = Command::new(&job.words[0]);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
        .args(&job.words[1..])
        .current_dir(&job.directory)
        .env("HOOK_EVENT", job.event.name())
        .env("HOOK_SERVER_PID", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?);
    let facts = &job.facts;
    let numbers = [
        ("HOOK_GENERATION", facts.generation),
        ("HOOK_WORKER", facts.worker),
        ("HOOK_WORKER_PID", facts.worker_pid.map(u64::from)),
        ("HOOK_RELOAD", facts.reload),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.env(name, number.to_string());
        }
    }
    if let Some(reason) = &facts.reason {
        command.env("HOOK_REASON", reason.replace('\0', " "));
    }
    spawn(command, Inheritance::default())
}
