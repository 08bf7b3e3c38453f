//! What reports say of a reload, for the admin interface.

use super::Shell;
use crate::{
    admin::Outcome,
    arbiter::{
        clock,
        core::{ReloadId, Report},
        report::failure_words,
    },
};

impl Shell {
    pub(super) fn note_in_history(&mut self, report: &Report) {
        let now = clock::now();
        let history = &mut self.history;
        match report {
            Report::Unchanged(reload) => {
                history.conclude(*reload, now, Outcome::Unchanged, None, None);
            }
            Report::Adopted { reload, .. } => history.accept(*reload, None, now),
            Report::Rolling {
                reload, generation, ..
            } => history.accept(*reload, Some(*generation), now),
            Report::TakenBack { reload, .. } => {
                history.accept(*reload, None, now);
                let reason = Some("back to what served".to_owned());
                history.conclude(*reload, now, Outcome::Done, reason, None);
            }
            Report::Serving { reload, .. } => {
                history.conclude(*reload, now, Outcome::Done, None, None);
            }
            Report::Undone {
                reload,
                generation,
                failure,
                ..
            } => {
                let reason = format!(
                    "generation {} could not boot: {}",
                    generation.0,
                    failure_words(failure)
                );
                let handle = self.processes.generations.get(generation);
                let problems = handle.and_then(|handle| handle.last_words.as_ref()?.text());
                history.conclude(*reload, now, Outcome::Rejected, Some(reason), problems);
            }
            Report::RollingBack {
                reload,
                generation,
                back_to,
                ..
            } => {
                let (bad, good) = (generation.0, back_to.0);
                let reason = format!("generation {bad} misbehaved, {good} comes back");
                history.conclude(*reload, now, Outcome::RolledBack, Some(reason), None);
            }
            Report::Stopping { .. } => history.stop(now),
            _ => {}
        }
    }

    /// Rejected before anything was started for it.
    pub(super) fn note_rejected(&mut self, reload: ReloadId, reason: &str, problems: Option<&str>) {
        self.history.conclude(
            reload,
            clock::now(),
            Outcome::Rejected,
            Some(reason.to_owned()),
            problems.map(str::to_owned),
        );
    }
}
