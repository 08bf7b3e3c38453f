//! The arbiter's lines in the error log. Their keys (`generation=3 worker=2 pid=812`) and verbs are an interface: people
//! grep for them, and tests wait for them.

mod words;

use std::{collections::BTreeMap, fmt::Write, time::Duration};

pub(super) use words::{exit_words, failure_words, misconduct_words, seconds};
use words::{killer, limit, reason};

use super::{
    core::{
        Change, Exit, Failure, GenerationId, Misconduct, Moment, Order, ReloadId, Report, Stop,
        Why, WorkerId,
    },
    processes::Processes,
    reading::Reading,
};
use crate::{
    config::{LogLevel, changes, summary},
    critical, error, info, warning,
    wire::{EXIT_SICK, Scoreboard, crash_in},
};

/// What reports are about, by number.
pub(super) struct Scene<'a> {
    pub(super) now: Moment,
    pub(super) processes: &'a Processes,
    pub(super) board: &'a Scoreboard,
    pub(super) readings: &'a BTreeMap<ReloadId, Reading>,
    pub(super) serving: Option<ReloadId>,
}

impl Scene<'_> {
    pub(super) fn tell(&self, report: &Report) {
        match report {
            Report::Unchanged(reload) => info!("{}", self.reload(*reload)),
            Report::Adopted { reload, change } => self.tell_adopted(*reload, *change),
            Report::Rolling {
                reload,
                generation,
                superseded,
            } => {
                let instead = superseded
                    .map(|old| format!(" instead of generation={}", old.0))
                    .unwrap_or_default();
                info!(
                    "{}; rolling generation={}{instead}",
                    self.reload(*reload),
                    generation.0
                );
            }
            Report::TakenBack { reload, superseded } => info!(
                "{}; back to what serves, generation={} cancelled",
                self.reload(*reload),
                superseded.0
            ),
            Report::Serving {
                reload,
                generation,
                replaced,
                workers,
                took,
                probation,
            } => self.tell_serving(*reload, *generation, *replaced, *workers, *took, *probation),
            Report::Proven {
                generation,
                dismissed,
            } => info!(
                "generation={} passed its probation, generation={} leaves",
                generation.0, dismissed.0
            ),
            Report::RollingBack {
                reload,
                generation,
                misconduct,
                back_to,
                back_to_reload,
            } => {
                self.tell_rolling_back(*reload, *generation, misconduct, *back_to, *back_to_reload)
            }
            Report::RolledBack {
                generation,
                replaced,
                workers,
                took,
                ..
            } => info!(
                "rolled back in {}: generation={} workers={workers} serving again, generation={} drains",
                seconds(*took),
                generation.0,
                replaced.0
            ),
            Report::ParkedDied { generation, exit } => warning!(
                "generation={} died of {} while it was kept: there is nothing to roll back to",
                generation.0,
                exit_words(*exit)
            ),
            Report::Undone {
                returned: true,
                generation,
                failure,
                serving: Some(serving),
                ..
            } => error!(
                "generation={} could not come back: {}; generation={} goes on",
                generation.0,
                failure_words(failure),
                serving.0
            ),
            Report::Undone {
                reload,
                generation,
                failure,
                serving,
                ..
            } => self.tell_undone(*reload, *generation, failure, *serving),
            Report::WorkerReady {
                generation, worker, ..
            } => info!("{} ready", self.worker(*generation, *worker)),
            Report::WorkerRetires {
                generation,
                worker,
                why,
            } => info!(
                "{} reached {}: a successor is started",
                self.worker(*generation, *worker),
                limit(*why)
            ),
            Report::WorkerStuck {
                generation,
                worker,
                stalled,
            } => warning!(
                "{} made no progress for {} (timeouts.worker): a successor is started{}",
                self.worker(*generation, *worker),
                seconds(*stalled),
                self.in_flight(*worker)
            ),
            Report::WorkerOverdue {
                generation,
                worker,
                order,
                why,
                after,
            } => self.tell_overdue(*generation, *worker, *order, *why, *after),
            Report::WorkerDied {
                generation,
                worker,
                exit,
                why,
                uptime,
            } => self.tell_died(*generation, *worker, *exit, *why, *uptime),
            Report::NotForked {
                generation,
                worker,
                reason,
            } => error!(
                "generation={} worker={} not forked: {reason}",
                generation.0, worker.0
            ),
            Report::BackingOff {
                generation,
                failures,
                delay,
                serving,
                wanted,
                ..
            } => tell_backing_off(*generation, *failures, *delay, *serving, *wanted),
            Report::RevivalDelayed { failures: 1, .. } => {
                warning!("a generation did not live long: the next starts at once");
            }
            Report::RevivalDelayed { failures, delay } => error!(
                "{failures} generations in a row did not live long: the next start in {}",
                seconds(*delay)
            ),
            Report::ServingGenerationDied { generation, exit } => error!(
                "generation={} died of {}: its workers go on, a new generation follows",
                generation.0,
                exit_words(*exit)
            ),
            Report::Reviving { generation } => {
                info!("generation={} started in its place", generation.0);
            }
            Report::Scaled { workers } => info!("workers={workers} wanted"),
            Report::ScaleUndone {
                generation,
                workers,
                failure,
            } => self.tell_scale_undone(*generation, *workers, failure),
            Report::Stopping { stop } => info!(
                "{}",
                match stop {
                    Stop::Graceful => "stopping: requests in flight are finished",
                    Stop::Quick => "stopping now",
                }
            ),
            Report::GenerationOverdue(generation) => {
                warning!("generation={} did not leave: killed", generation.0);
            }
        }
    }

    fn tell_adopted(&self, reload: ReloadId, change: Change) {
        let doing = match change {
            Change::Scale => self
                .readings
                .get(&reload)
                .map(|reading| format!("scaling to {} workers", reading.config.workers))
                .unwrap_or_default(),
            Change::Live | Change::Nothing | Change::Roll => {
                "no worker has to be replaced".to_owned()
            }
        };
        info!("{}; {doing}", self.reload(reload));
    }

    fn tell_serving(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        replaced: Option<GenerationId>,
        workers: u16,
        took: Duration,
        probation: Option<Duration>,
    ) {
        let generation = generation.0;
        let probation = probation
            .map(|lasts| format!(", on probation for {}", seconds(lasts)))
            .unwrap_or_default();
        match replaced {
            None if reload.0 == 0 => info!("generation={generation} workers={workers} serving"),
            // The generation before had not begun to serve.
            None => info!(
                "reload={} done in {}: generation={generation} workers={workers} serving",
                reload.0,
                seconds(self.since_began(reload).unwrap_or(took))
            ),
            Some(old) if self.serving == Some(reload) => info!(
                "generation={generation} workers={workers} serving in place of generation={}",
                old.0
            ),
            Some(old) => info!(
                "reload={} done in {}: generation={generation} workers={workers} serving{probation}, generation={} drains",
                reload.0,
                seconds(self.since_began(reload).unwrap_or(took)),
                old.0
            ),
        }
    }

    fn tell_rolling_back(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        misconduct: &Misconduct,
        back_to: GenerationId,
        back_to_reload: ReloadId,
    ) {
        let config = |id| self.readings.get(&id).map(|reading| &reading.config);
        let lost = match (config(back_to_reload), config(reload)) {
            (Some(back), Some(bad)) => summary(&changes(back, bad)),
            _ => String::new(),
        };
        let lost = match lost.as_str() {
            "" => "the file is in force, with the code before".to_owned(),
            lost => format!("not in force: {lost}"),
        };
        error!(
            "reload={} rolled back: {}; generation={} comes back for generation={}; {lost}",
            reload.0,
            misconduct_words(misconduct),
            back_to.0,
            generation.0
        );
    }

    /// A scaled or live change is in force.
    pub(super) fn tell_done(&self, reload: ReloadId) {
        let took = self.since_began(reload).unwrap_or_default();
        info!("reload={} done in {}", reload.0, seconds(took));
    }

    fn tell_undone(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        failure: &Failure,
        serving: Option<GenerationId>,
    ) {
        let (id, reason) = (generation.0, failure_words(failure));
        let reason = reason + &self.advice_words(reload, failure);
        match serving {
            None => error!(
                "generation={id} could not boot: {reason}; nothing serves yet, so the server ends"
            ),
            Some(serving) if self.serving == Some(reload) => error!(
                "generation={id} could not boot: {reason}; the workers of generation={} go on",
                serving.0
            ),
            Some(serving) => error!(
                "reload={} rejected: generation={id} could not boot: {reason}; generation={} goes on",
                reload.0, serving.0
            ),
        }
    }

    fn tell_scale_undone(&self, generation: GenerationId, workers: u16, failure: &Failure) {
        let handle = self.processes.generations.get(&generation);
        let advice = handle.map(|handle| self.advice_words(handle.reload, failure));
        error!(
            "generation={} more workers could not boot: {}{}; workers={workers} wanted again",
            generation.0,
            failure_words(failure),
            advice.unwrap_or_default()
        );
    }

    /// What helps where a process died or hung; nothing where the reason says so itself.
    fn advice_words(&self, reload: ReloadId, failure: &Failure) -> String {
        let Some(reading) = self.readings.get(&reload) else {
            return String::new();
        };
        let (app, preload) = (&reading.config.app.text, reading.config.preload);
        match failure {
            Failure::WorkerDied {
                exit: Exit::Code(EXIT_SICK),
                ..
            }
            | Failure::Said { .. }
            | Failure::NotForked { .. } => String::new(),
            Failure::Died { .. } | Failure::NotPrepared { .. } if !preload => String::new(),
            Failure::Died { .. } | Failure::WorkerDied { .. } => {
                format!("; `rgunicorn check` tries `{app}` alone")
            }
            Failure::NotPrepared { .. } | Failure::WorkerNotReady { .. } => format!(
                " while it loaded `{app}`; mend what it waits for, or give it a longer `[timeouts] boot`"
            ),
        }
    }

    fn tell_overdue(
        &self,
        generation: GenerationId,
        worker: WorkerId,
        order: Order,
        why: Why,
        after: Duration,
    ) {
        let (who, after) = (self.worker(generation, worker), seconds(after));
        match (order, why) {
            (Order::Abort, Why::NotReady) => error!(
                "{who} not ready after {after} (timeouts.boot): ended, with the Python stacks of where it hangs"
            ),
            (Order::Quit, _) => warning!(
                "{who} not drained after {after} (timeouts.graceful): told to quit{}",
                self.in_flight(worker)
            ),
            (Order::Abort, _) => warning!(
                "{who} still makes no progress: its Python stacks follow{}",
                self.in_flight(worker)
            ),
            (Order::Kill | Order::Drain, _) => {
                warning!("{who} did not obey within {after}: killed");
            }
        }
    }

    fn tell_died(
        &self,
        generation: GenerationId,
        worker: WorkerId,
        exit: Exit,
        why: Option<Why>,
        uptime: Duration,
    ) {
        let mut text = format!(
            "{} {} after {}",
            self.worker(generation, worker),
            match (exit, why) {
                (Exit::Code(0), Some(_)) => "left".to_owned(),
                _ => format!("died of {}", exit_words(exit)),
            },
            seconds(uptime)
        );
        if let Some(slot) = self.slot(worker) {
            let requests = slot.requests.load(std::sync::atomic::Ordering::Relaxed);
            let _ = write!(text, " and {requests} requests");
        }
        let handle = self.processes.workers.get(&worker);
        if let Some(peak_bytes) = handle.map(|h| h.peak_bytes).filter(|bytes| *bytes > 0) {
            let _ = write!(text, ", at most {}MiB resident", peak_bytes >> 20);
        }
        match (why, exit) {
            (Some(why), _) => {
                let _ = write!(text, " ({})", reason(why));
            }
            (None, Exit::Signal(libc::SIGKILL)) => {
                let oom_kills = handle.and_then(|handle| handle.oom_kills_before);
                text.push_str(killer(oom_kills, crate::sys::oom_kills()));
            }
            (None, Exit::Code(0)) => text.push_str(
                " (nobody told it to: the app may have called `os._exit`, stopped its event loop, or closed descriptors that are not its own)",
            ),
            (None, _) => {}
        }
        text.push_str(&self.in_flight(worker));
        let level = match is_expected(exit, why) {
            true => LogLevel::Info,
            false => LogLevel::Warning,
        };
        crate::telemetry::block(
            level,
            format_args!("{text}"),
            &self.last_stacks(worker, exit),
        );
    }

    /// What the worker was at when it crashed.
    fn last_stacks(&self, worker: WorkerId, exit: Exit) -> String {
        let handle = self.processes.workers.get(&worker);
        let sheet = handle.and_then(|handle| handle.sheet.as_ref());
        match (exit, sheet) {
            (Exit::Signal(_), Some(sheet)) => {
                crash_in(&sheet.text().unwrap_or_default()).to_owned()
            }
            _ => String::new(),
        }
    }

    fn reload(&self, reload: ReloadId) -> String {
        let told = self.readings.get(&reload).map_or("", |r| r.told.as_str());
        format!("reload={} {told}", reload.0)
    }

    fn since_began(&self, reload: ReloadId) -> Option<Duration> {
        let reading = self.readings.get(&reload)?;
        Some(self.now.since(reading.began))
    }

    fn worker(&self, generation: GenerationId, worker: WorkerId) -> String {
        let pid = self.processes.pid_of(worker);
        format!("generation={} worker={} pid={pid}", generation.0, worker.0)
    }

    fn slot(&self, worker: WorkerId) -> Option<&crate::wire::Slot> {
        let handle = self.processes.workers.get(&worker)?;
        self.board.slots().get(handle.slot as usize)
    }

    /// `; in flight: GET /report for 31.2s, …`
    fn in_flight(&self, worker: WorkerId) -> String {
        let requests = self
            .slot(worker)
            .map(crate::wire::Slot::requests_in_flight)
            .unwrap_or_default();
        if requests.is_empty() {
            return String::new();
        }
        let told: Vec<String> = requests
            .iter()
            .map(|(started_ns, what)| {
                let started = Moment::from_origin(Duration::from_nanos(*started_ns));
                format!("{what} for {}", seconds(self.now.since(started)))
            })
            .collect();
        format!("; in flight: {}", told.join(", "))
    }
}

/// Whether a worker that ended so did what it was told to.
pub(super) fn is_expected(exit: Exit, why: Option<Why>) -> bool {
    matches!(
        (exit, why),
        (Exit::Code(0), Some(_))
            | (
                _,
                Some(Why::Undone | Why::Stopping | Why::Scaled | Why::Replaced)
            )
    )
}

/// The first time it may be chance; from then on somebody has to look.
fn tell_backing_off(
    generation: GenerationId,
    failures: u32,
    delay: Duration,
    serving: usize,
    wanted: u16,
) {
    let (id, delay) = (generation.0, seconds(delay));
    match (failures, serving) {
        (1, _) => warning!(
            "generation={id} a worker did not live long: the next starts at once; {serving} of {wanted} workers serve"
        ),
        (_, 0) => critical!(
            "generation={id} {failures} starts in a row failed: the next in {delay}; no worker serves, connections wait"
        ),
        (_, _) => error!(
            "generation={id} {failures} starts in a row failed: the next in {delay}; {serving} of {wanted} workers serve on"
        ),
    }
}
