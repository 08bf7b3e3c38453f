//! The arbiter's lines in the error log. Their keys (`generation=3 worker=2 pid=812`) and verbs are an interface: people
//! grep for them, and tests wait for them.

mod generation;
mod probation;
mod reload;
mod words;
mod worker;

use std::{collections::BTreeMap, time::Duration};

pub(super) use words::{exit_words, failure_words, misconduct_words, seconds};
pub(super) use worker::is_expected;

use super::{
    core::{GenerationId, Moment, ReloadId, Report, Stop, WorkerId},
    processes::Processes,
    reading::Reading,
};
use crate::{info, wire::Scoreboard};

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
            Report::Unchanged(reload) => info!("{}", self.reload_label(*reload)),
            Report::Adopted { reload, change } => self.tell_adopted(*reload, *change),
            Report::Rolling {
                reload,
                generation,
                superseded,
            } => self.tell_rolling(*reload, *generation, *superseded),
            Report::TakenBack { reload, superseded } => self.tell_taken_back(*reload, *superseded),
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
            } => probation::tell_proven(*generation, *dismissed),
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
            } => probation::tell_rolled_back(*generation, *replaced, *workers, *took),
            Report::ParkedDied { generation, exit } => {
                probation::tell_parked_died(*generation, *exit);
            }
            Report::Undone {
                returned: true,
                generation,
                failure,
                serving: Some(serving),
                ..
            } => probation::tell_not_returned(*generation, failure, *serving),
            Report::Undone {
                reload,
                generation,
                failure,
                serving,
                ..
            } => self.tell_undone(*reload, *generation, failure, *serving),
            Report::Worker {
                generation,
                worker,
                report,
            } => self.tell_worker(*generation, *worker, report),
            Report::BackingOff {
                generation,
                failures,
                delay,
                serving,
                wanted,
                ..
            } => worker::tell_backing_off(*generation, *failures, *delay, *serving, *wanted),
            Report::RevivalDelayed { failures, delay } => {
                generation::tell_revival_delayed(*failures, *delay);
            }
            Report::ServingGenerationDied { generation, exit } => {
                generation::tell_serving_died(*generation, *exit);
            }
            Report::Reviving { generation } => generation::tell_reviving(*generation),
            Report::Scaled { workers } => info!("workers={workers} wanted"),
            Report::ScaleUndone {
                generation,
                workers,
                failure,
            } => self.tell_scale_undone(*generation, *workers, failure),
            Report::Stopping { stop } => tell_stopping(*stop),
            Report::GenerationOverdue(generation) => generation::tell_overdue(*generation),
        }
    }

    /// `reload=2` and what was read differently.
    fn reload_label(&self, reload: ReloadId) -> String {
        let told = self.readings.get(&reload).map_or("", |r| r.told.as_str());
        format!("reload={} {told}", reload.0)
    }

    fn since_began(&self, reload: ReloadId) -> Option<Duration> {
        let reading = self.readings.get(&reload)?;
        Some(self.now.since(reading.began))
    }

    /// `generation=3 worker=2 pid=812`
    fn worker_label(&self, generation: GenerationId, worker: WorkerId) -> String {
        let pid = self.processes.pid_of(worker);
        format!("generation={} worker={} pid={pid}", generation.0, worker.0)
    }
}

fn tell_stopping(stop: Stop) {
    info!(
        "{}",
        match stop {
            Stop::Graceful => "stopping: requests in flight are finished",
            Stop::Quick => "stopping now",
        }
    );
}
