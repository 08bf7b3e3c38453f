//! What the service manager is told of the state of the server. It follows from that state, and so is told in one place.

use super::Shell;
use crate::arbiter::{
    clock,
    core::{ReloadId, Report},
};

impl Shell {
    /// Called after events were taken: what they changed is told now.
    pub(super) fn tell_manager(&mut self) {
        if !self.manager.exists() {
            return;
        }
        self.manager.status(self.status());
        if self.core.is_stopping() {
            self.manager.stopping();
        } else if self.serving.is_some() {
            self.manager.ready();
            self.manager.keep(&self.listeners.worth_keeping());
        }
        if self.core.candidate().is_none() && self.settling.is_none() {
            self.manager.reloaded();
        }
        self.manager.tick(clock::now());
    }

    /// `generation 3 serves with 4 of 4 workers; reload 2 done`
    fn status(&self) -> String {
        if self.core.is_stopping() {
            return format!("stopping, {} workers are left", self.core.workers().count());
        }
        let Some(id) = self.core.serving() else {
            return "starting".to_owned();
        };
        let workers = self.core.workers();
        let serve = workers.filter(|(_, worker)| worker.generation == id && worker.serves());
        let status = format!(
            "generation {} serves with {} of {} workers",
            id.0,
            serve.count(),
            self.core.workers_wanted().unwrap_or_default()
        );
        let rolling = self.core.candidate();
        let rolling = rolling.map(|id| format!("generation {} boots", id.0));
        match rolling.or_else(|| self.outcome.clone()) {
            Some(more) => format!("{status}; {more}"),
            None => status,
        }
    }

    /// What came of a reload, in few words; the log has more.
    pub(super) fn note_outcome(&mut self, report: &Report) {
        let (reload, outcome) = match report {
            Report::Unchanged(reload) => (reload, "changed nothing".to_owned()),
            Report::Serving {
                reload,
                replaced: Some(_),
                ..
            } => (reload, "done".to_owned()),
            Report::Undone {
                reload,
                generation,
                serving: Some(_),
                ..
            } => {
                let reason = format!("rejected: generation {} could not boot", generation.0);
                (reload, reason)
            }
            Report::RollingBack {
                reload,
                generation,
                back_to,
                ..
            } => {
                let (bad, good) = (generation.0, back_to.0);
                let reason = format!("rolled back: generation {bad} misbehaved, {good} is back");
                (reload, reason)
            }
            Report::TakenBack { reload, .. } => (reload, "done: back to what served".to_owned()),
            _ => return,
        };
        self.set_outcome(*reload, &outcome);
    }

    pub(super) fn set_outcome(&mut self, reload: ReloadId, outcome: &str) {
        self.outcome = Some(format!("reload {} {outcome}", reload.0));
    }
}
