//! Probation: for a while after the switch the new generation is watched, and the process of the one before is kept, so
//! that it can come back. What comes back has proved itself, and is not put on probation again: nothing swings to and fro.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Core, Exit, Failure, GenerationId, Moment, Process, Report, Role, Why};

/// So many workers that die of themselves are worse than chance.
const DEATHS_MAX: u32 = 2;
/// Fewer answers say nothing about a share.
const REQUESTS_MIN: u64 = 10;
/// So few errors may be anybody's.
const ERRORS_MIN: u64 = 5;
/// Of a hundred answers, so many more errors are allowed beyond twice the share there was before.
const ERRORS_MORE_PER_CENT: u64 = 5;

/// Answers of all workers of a generation so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub requests: u64,
    /// Of these, with a 5xx status.
    pub errors: u64,
}

impl Counts {
    /// Whether the share of errors is worse than it was before, by more than chance.
    fn is_worse_than(self, before: Self) -> bool {
        let share = |counts: Self| 10_000 * counts.errors / counts.requests.max(1);
        self.requests >= REQUESTS_MIN
            && self.errors >= ERRORS_MIN
            && share(self) > 2 * share(before) + 100 * ERRORS_MORE_PER_CENT
    }
}

/// Why a generation did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misconduct {
    /// So many workers died of themselves or got stuck.
    WorkersDied(u32),
    /// The successor of a worker could not be brought up.
    BootFailed(Failure),
    /// Its process ended.
    ProcessDied(Exit),
    /// The share of 5xx rose.
    Errors { counts: Counts, before: Counts },
}

/// Of the serving generation; while there is one, a generation is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probation {
    pub(super) until: Moment,
    deaths: u32,
    misconduct: Option<Misconduct>,
}

impl Core {
    /// Whether [`super::Event::Counted`] is of interest now.
    pub fn is_on_probation(&self) -> bool {
        self.parked().is_some()
    }

    /// The generation that can come back.
    pub fn parked(&self) -> Option<GenerationId> {
        self.with_role(Role::Parked)
    }

    /// The candidate was committed: what it replaced is parked or let go.
    pub(super) fn begin_probation(
        &mut self,
        now: Moment,
        committed: GenerationId,
        replaced: GenerationId,
        actions: &mut Vec<Action>,
    ) {
        let lasts = self.generations[&committed].probation_lasts();
        // One that did not pass yet is no good to go back to: the one before it stays.
        let kept = self.parked().unwrap_or(replaced);
        let can_return = self.generations[&kept].process == Process::Prepared;
        for id in [kept, replaced] {
            let is_kept = id == kept && can_return && !lasts.is_zero();
            let role = if is_kept { Role::Parked } else { Role::Leaving };
            self.take_out(now, id, role, Why::Replaced, actions);
        }
        if can_return
            && !lasts.is_zero()
            && let Some(generation) = self.generations.get_mut(&committed)
        {
            generation.probation = Some(Probation {
                until: now + lasts,
                deaths: 0,
                misconduct: None,
            });
        }
    }

    /// Ends a probation that is over, one way or the other.
    pub(super) fn judge(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let (Some(serving), Some(parked)) = (self.serving(), self.parked()) else {
            return;
        };
        let Some(probation) = &self.generations[&serving].probation else {
            return;
        };
        match probation.misconduct.clone() {
            // A candidate may be the mend.
            Some(_) if self.candidate().is_some() => {}
            Some(misconduct) => self.roll_back(now, serving, parked, misconduct, actions),
            None if probation.until <= now => {
                self.end_probation(serving);
                self.take_out(now, parked, Role::Leaving, Why::Replaced, actions);
                actions.push(Action::Report(Report::Proven {
                    generation: serving,
                    dismissed: parked,
                }));
            }
            None => {}
        }
    }

    fn roll_back(
        &mut self,
        now: Moment,
        serving: GenerationId,
        parked: GenerationId,
        misconduct: Misconduct,
        actions: &mut Vec<Action>,
    ) {
        self.end_probation(serving);
        let workers = self.workers_wanted_under(self.generations[&parked].rules, serving);
        let reload = self.generations[&serving].reload;
        let Some(generation) = self.generations.get_mut(&parked) else {
            return;
        };
        generation.role = Role::Candidate;
        generation.returns_since = Some(now);
        generation.workers = workers;
        actions.push(Action::Report(Report::RollingBack {
            reload,
            generation: serving,
            misconduct,
            back_to: parked,
            back_to_reload: generation.reload,
        }));
    }

    /// The process of the parked generation ended: there is nothing to go back to.
    pub(super) fn lose_parked(&mut self, id: GenerationId, exit: Exit, actions: &mut Vec<Action>) {
        self.forsake_parked(id);
        actions.push(Action::Report(Report::ParkedDied {
            generation: id,
            exit,
        }));
    }

    /// The process of this generation ends or will: were it parked, there is nothing to go back to any more.
    pub(super) fn forsake_parked(&mut self, id: GenerationId) {
        if self.parked() != Some(id) {
            return;
        }
        if let Some(generation) = self.generations.get_mut(&id) {
            generation.role = Role::Leaving;
        }
        if let Some(serving) = self.serving() {
            self.end_probation(serving);
        }
    }

    fn end_probation(&mut self, id: GenerationId) {
        if let Some(generation) = self.generations.get_mut(&id) {
            generation.probation = None;
        }
    }

    pub(super) fn counted(&mut self, id: GenerationId, counts: Counts) {
        let before = self
            .with_role(Role::Parked)
            .map(|parked| self.generations[&parked].counts);
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        generation.counts = counts;
        if let Some(before) = before
            && counts.is_worse_than(before)
        {
            self.accuse(id, Misconduct::Errors { counts, before });
        }
    }

    /// A worker that served died of itself, or got stuck.
    pub(super) fn note_death(&mut self, id: GenerationId) {
        if let Some(generation) = self.generations.get_mut(&id)
            && let Some(probation) = &mut generation.probation
        {
            probation.deaths += 1;
            if probation.deaths >= DEATHS_MAX {
                let misconduct = Misconduct::WorkersDied(probation.deaths);
                self.accuse(id, misconduct);
            }
        }
    }

    /// Of no consequence for a generation that is not on probation; the first cause counts.
    pub(super) fn accuse(&mut self, id: GenerationId, misconduct: Misconduct) {
        if let Some(generation) = self.generations.get_mut(&id)
            && let Some(probation) = &mut generation.probation
        {
            probation.misconduct.get_or_insert(misconduct);
        }
    }

    /// When the probation ends if nothing happens.
    pub(super) fn probation_deadline(&self) -> Option<Moment> {
        let probation = self.generations[&self.serving()?].probation.as_ref()?;
        probation.misconduct.is_none().then_some(probation.until)
    }
}

impl super::Generation {
    /// Zero for one that came back.
    fn probation_lasts(&self) -> Duration {
        if self.returns_since.is_some() {
            Duration::ZERO
        } else {
            self.rules.probation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_errors_is_worse_when_there_are_enough_and_it_more_than_doubled() {
        let counts = |errors, requests| Counts { requests, errors };
        let none = Counts::default();
        assert!(!counts(9, 9).is_worse_than(none), "too few answers");
        assert!(!counts(4, 10).is_worse_than(none), "too few errors");
        assert!(counts(5, 10).is_worse_than(none));
        assert!(!counts(5, 100).is_worse_than(none), "five per cent");
        assert!(counts(6, 100).is_worse_than(none));
        assert!(
            !counts(45, 100).is_worse_than(counts(2, 10)),
            "it was bad before"
        );
        assert!(counts(46, 100).is_worse_than(counts(2, 10)));
    }
}
