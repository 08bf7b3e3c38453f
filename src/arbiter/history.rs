//! What became of the last reloads, for the admin interface. The log has all of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::core::{GenerationId, Moment, ReloadId};
use crate::{
    admin::{Outcome, Reload},
    config::Change,
};

/// How many are remembered.
const RELOADS_MAX: usize = 20;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct History {
    last: VecDeque<Reload>,
    /// Decided, and not counted yet.
    decided: Vec<Outcome>,
    /// The number of the reload that was decided last, by itself and not by a later one.
    decided_last: Option<u64>,
}

impl History {
    /// The configuration is read again; `at_us` is the wall clock.
    pub(super) fn begin(&mut self, reload: ReloadId, now: Moment, at_us: i64) {
        if self.last.len() == RELOADS_MAX {
            // What is under way is waited for, and counted when it is decided.
            let is_decided = |reload: &Reload| reload.outcome != Outcome::Pending;
            let oldest = self.last.iter().position(is_decided);
            self.last.remove(oldest.unwrap_or(0));
        }
        self.last.push_back(Reload {
            reload: reload.0,
            told: String::new(),
            changes: Vec::new(),
            at_us,
            began_ns: now.nanoseconds(),
            ended_ns: None,
            generation: None,
            outcome: Outcome::Pending,
            reason: None,
            problems: None,
        });
    }

    /// What was found to have changed.
    pub(super) fn tell(&mut self, reload: ReloadId, told: &str, changes: Vec<Change>) {
        if let Some(found) = self.find(reload) {
            found.told = told.to_owned();
            found.changes = changes;
        }
    }

    /// It is being carried out, so those before it never will be.
    pub(super) fn accept(
        &mut self,
        reload: ReloadId,
        generation: Option<GenerationId>,
        now: Moment,
    ) {
        for earlier in self.last.iter_mut().filter(|one| one.reload < reload.0) {
            let reason = format!("reload {} took its place", reload.0);
            let decided = end(earlier, now, Outcome::Superseded, Some(reason), None);
            self.decided.extend(decided);
        }
        if let Some(found) = self.find(reload) {
            found.generation = generation.map(|id| id.0);
        }
    }

    /// It is decided.
    pub(super) fn conclude(
        &mut self,
        reload: ReloadId,
        now: Moment,
        outcome: Outcome,
        reason: Option<String>,
        problems: Option<String>,
    ) {
        if let Some(found) = self.find(reload) {
            let decided = end(found, now, outcome, reason, problems);
            if decided.is_some() {
                self.decided_last = Some(reload.0);
            }
            self.decided.extend(decided);
        }
    }

    /// What became of a reload last.
    pub(super) fn decided_last(&self) -> Option<&Reload> {
        let number = self.decided_last?;
        self.last.iter().find(|found| found.reload == number)
    }

    /// What is under way never ends.
    pub(super) fn stop(&mut self, now: Moment) {
        for reload in &mut self.last {
            let reason = "the server stops".to_owned();
            end(reload, now, Outcome::Cancelled, Some(reason), None);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Reload> {
        self.last.iter()
    }

    /// What was decided since the last call, to be counted.
    pub(super) fn take_decided(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.decided)
    }

    fn find(&mut self, reload: ReloadId) -> Option<&mut Reload> {
        self.last.iter_mut().find(|found| found.reload == reload.0)
    }
}

/// What was done can only be rolled back. Returns the outcome if it was news.
fn end(
    reload: &mut Reload,
    now: Moment,
    outcome: Outcome,
    reason: Option<String>,
    problems: Option<String>,
) -> Option<Outcome> {
    let may_end = match reload.outcome {
        Outcome::Pending => true,
        Outcome::Done => outcome == Outcome::RolledBack,
        _ => false,
    };
    if may_end {
        reload.outcome = outcome;
        reload.reason = reason;
        reload.problems = problems;
        reload.ended_ns.get_or_insert(now.nanoseconds());
    }
    may_end.then_some(outcome)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(seconds))
    }

    fn outcomes(history: &History) -> Vec<Outcome> {
        history.all().map(|reload| reload.outcome).collect()
    }

    #[test]
    fn a_later_reload_takes_the_place_of_one_under_way_and_not_of_one_that_is_done() {
        let mut history = History::default();
        for reload in 1..=3 {
            history.begin(ReloadId(reload), at(reload), 0);
        }
        history.accept(ReloadId(1), Some(GenerationId(2)), at(4));
        history.conclude(ReloadId(1), at(5), Outcome::Done, None, None);
        history.conclude(ReloadId(3), at(6), Outcome::Rejected, None, None);
        assert_eq!(
            outcomes(&history),
            [Outcome::Done, Outcome::Pending, Outcome::Rejected]
        );
        history.accept(ReloadId(4), None, at(7));
        assert_eq!(
            outcomes(&history),
            [Outcome::Done, Outcome::Superseded, Outcome::Rejected]
        );
        history.conclude(ReloadId(1), at(8), Outcome::RolledBack, None, None);
        assert_eq!(outcomes(&history)[0], Outcome::RolledBack);
        let last = history.decided_last();
        assert_eq!(last.map(|reload| reload.reload), Some(1));
    }

    #[test]
    fn one_that_is_under_way_is_remembered_however_many_follow() {
        let mut history = History::default();
        history.begin(ReloadId(1), at(1), 0);
        history.accept(ReloadId(1), Some(GenerationId(2)), at(1));
        for reload in 2..=30 {
            history.begin(ReloadId(reload), at(reload), 0);
            let now = at(reload);
            history.conclude(ReloadId(reload), now, Outcome::Rejected, None, None);
        }
        history.conclude(ReloadId(1), at(31), Outcome::Done, None, None);
        let last = history.decided_last();
        assert_eq!(last.map(|reload| reload.reload), Some(1));
        assert_eq!(history.all().count(), RELOADS_MAX);
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut history = History::default();
        for reload in 1..=30 {
            history.begin(ReloadId(reload), at(reload), 0);
        }
        let first = history.all().next().map(|reload| reload.reload);
        assert_eq!((first, history.all().count()), (Some(11), RELOADS_MAX));
    }
}
