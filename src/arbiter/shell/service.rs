//! What the service manager is told of the state of the server. It follows from that state, and so is told in one place.

use super::Shell;
use crate::{admin::Reload, arbiter::clock};

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
        match rolling.or_else(|| self.history.decided_last().map(outcome_words)) {
            Some(more) => format!("{status}; {more}"),
            None => status,
        }
    }
}

/// `reload 2 rejected: generation 3 could not boot: worker=5 died of exit code 3`
fn outcome_words(reload: &Reload) -> String {
    let outcome = format!("reload {} {}", reload.reload, reload.outcome.words());
    match &reload.reason {
        Some(reason) => format!("{outcome}: {reason}"),
        None => outcome,
    }
}
