//! Workers that come, leave, hang and die.

use std::{fmt::Write, time::Duration};

use super::{
    Scene,
    words::{exit_words, killer, limit, reason, seconds},
};
use crate::{
    arbiter::core::{Exit, GenerationId, Moment, Order, Why, WorkerId, WorkerReport},
    config::LogLevel,
    critical, error, info, warning,
    wire::crash_in,
};

impl Scene<'_> {
    pub(super) fn tell_worker(
        &self,
        generation: GenerationId,
        worker: WorkerId,
        report: &WorkerReport,
    ) {
        let who = self.worker_label(generation, worker);
        match report {
            WorkerReport::NotForked { reason } => error!(
                "generation={} worker={} not forked: {reason}",
                generation.0, worker.0
            ),
            WorkerReport::Ready { .. } => info!("{who} ready"),
            WorkerReport::Retires(why) => {
                info!("{who} reached {}: a successor is started", limit(*why));
            }
            WorkerReport::Stuck { stalled } => warning!(
                "{who} made no progress for {} (timeouts.worker): a successor is started{}",
                seconds(*stalled),
                self.in_flight(worker)
            ),
            WorkerReport::Overdue { order, why, after } => {
                self.tell_overdue(&who, worker, *order, *why, *after);
            }
            WorkerReport::Died { exit, why, uptime } => {
                self.tell_died(&who, worker, *exit, *why, *uptime);
            }
        }
    }

    fn tell_overdue(&self, who: &str, worker: WorkerId, order: Order, why: Why, after: Duration) {
        let after = seconds(after);
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
        who: &str,
        worker: WorkerId,
        exit: Exit,
        why: Option<Why>,
        uptime: Duration,
    ) {
        let mut text = format!(
            "{who} {} after {}",
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
pub(in crate::arbiter) fn is_expected(exit: Exit, why: Option<Why>) -> bool {
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
pub(super) fn tell_backing_off(
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
