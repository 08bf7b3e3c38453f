//! The transaction that a reload is: a candidate boots, its workers take the places of the old ones one by one, and it
//! is committed; or it is undone, and the serving generation is the target again.

use super::{
    Action, Backoff, Change, Core, Counts, Exit, Failure, Generation, GenerationId, Misconduct,
    Moment, Phase, Process, ReloadId, Report, Role, Rules, Why, stop,
};

impl Core {
    /// The last edit wins: a candidate that it makes obsolete is cancelled, for were it allowed to finish
    /// booting, it would replace a newer configuration.
    pub(super) fn edit(
        &mut self,
        now: Moment,
        reload: ReloadId,
        rules: Rules,
        from_serving: Change,
        from_candidate: Change,
        actions: &mut Vec<Action>,
    ) {
        if self.is_stopping() {
            return;
        }
        let Some(candidate) = self.candidate() else {
            return self.edit_serving(now, reload, rules, from_serving, actions);
        };
        match from_candidate {
            Change::Nothing => actions.push(Action::Report(Report::Unchanged(reload))),
            Change::Live | Change::Scale => {
                self.adopt(candidate, reload, rules);
                actions.push(Action::AdoptForCandidate {
                    generation: candidate,
                    reload,
                });
                actions.push(Action::Report(Report::Adopted {
                    reload,
                    change: from_candidate,
                }));
            }
            Change::Roll => self.supersede(now, candidate, reload, rules, from_serving, actions),
        }
    }

    fn edit_serving(
        &mut self,
        now: Moment,
        reload: ReloadId,
        rules: Rules,
        change: Change,
        actions: &mut Vec<Action>,
    ) {
        let Some(serving) = self.serving() else {
            return;
        };
        match change {
            Change::Nothing => actions.push(Action::Report(Report::Unchanged(reload))),
            Change::Live | Change::Scale => {
                self.adopt(serving, reload, rules);
                actions.push(Action::Adopt {
                    generation: serving,
                    reload,
                });
                actions.push(Action::Report(Report::Adopted { reload, change }));
            }
            Change::Roll => {
                let workers = self.workers_wanted_under(rules, serving);
                let generation = self.start_candidate(now, reload, rules, workers, actions);
                actions.push(Action::Report(Report::Rolling {
                    reload,
                    generation,
                    superseded: None,
                }));
            }
        }
    }

    fn supersede(
        &mut self,
        now: Moment,
        candidate: GenerationId,
        reload: ReloadId,
        rules: Rules,
        from_serving: Change,
        actions: &mut Vec<Action>,
    ) {
        let workers = self.workers_wanted_under(rules, candidate);
        self.take_out(now, candidate, Role::Leaving, Why::Undone, actions);
        if self.serving().is_some() && from_serving != Change::Roll {
            actions.push(Action::Report(Report::TakenBack {
                reload,
                superseded: candidate,
            }));
            if from_serving != Change::Nothing {
                self.edit_serving(now, reload, rules, from_serving, actions);
            }
            return;
        }
        let generation = self.start_candidate(now, reload, rules, workers, actions);
        actions.push(Action::Report(Report::Rolling {
            reload,
            generation,
            superseded: Some(candidate),
        }));
    }

    /// TTIN and TTOU survive a reload unless the file changes `workers`.
    pub(super) fn workers_wanted_under(&self, rules: Rules, from: GenerationId) -> u16 {
        let from = &self.generations[&from];
        if rules.workers == from.rules.workers {
            from.workers
        } else {
            rules.workers
        }
    }

    fn adopt(&mut self, id: GenerationId, reload: ReloadId, rules: Rules) {
        if let Some(generation) = self.generations.get_mut(&id) {
            generation.adopt(reload, rules);
        }
    }

    pub(super) fn start_candidate(
        &mut self,
        now: Moment,
        reload: ReloadId,
        rules: Rules,
        workers: u16,
        actions: &mut Vec<Action>,
    ) -> GenerationId {
        assert!(self.candidate().is_none(), "at most one generation boots");
        self.generations_started += 1;
        let id = GenerationId(self.generations_started);
        self.generations.insert(
            id,
            Generation {
                role: Role::Candidate,
                process: Process::Starting {
                    deadline: now + rules.boot,
                    failed: None,
                },
                reload,
                rules,
                workers,
                scaled_from: None,
                started: now,
                backoff: Backoff::default(),
                probation: None,
                returns_since: None,
                counts: Counts::default(),
            },
        );
        actions.push(Action::Spawn {
            generation: id,
            reload,
        });
        id
    }

    pub(super) fn prepared(&mut self, id: GenerationId) {
        if let Some(generation) = self.generations.get_mut(&id)
            && matches!(generation.process, Process::Starting { failed: None, .. })
        {
            generation.process = Process::Prepared;
        }
    }

    /// It is about to exit, with a code that says more; it is given little time for that.
    pub(super) fn failed(&mut self, now: Moment, id: GenerationId, reason: String) {
        if let Some(generation) = self.generations.get_mut(&id)
            && matches!(generation.process, Process::Starting { .. })
        {
            generation.process = Process::Starting {
                deadline: now + super::KILL_AFTER,
                failed: Some(reason),
            };
        }
    }

    pub(super) fn generation_exited(
        &mut self,
        now: Moment,
        id: GenerationId,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let process = std::mem::replace(&mut generation.process, Process::Gone);
        let (role, since) = (generation.role, generation.rolls_since());
        self.abandon_unforked(id, actions);
        match role {
            Role::Candidate => {
                let failure = match process {
                    Process::Starting {
                        failed: Some(reason),
                        ..
                    } => Failure::Said { reason, exit },
                    Process::Starting { failed: None, .. }
                    | Process::Prepared
                    | Process::Retired { .. }
                    | Process::Aborted { .. }
                    | Process::Killed
                    | Process::Gone => Failure::Died { exit },
                };
                self.undo(now, id, failure, actions);
            }
            Role::Serving if process != Process::Gone => {
                actions.push(Action::Report(Report::ServingGenerationDied {
                    generation: id,
                    exit,
                }));
                self.accuse(id, Misconduct::ProcessDied(exit));
                if now.since(since) < super::YOUNG {
                    self.delay_revival(now, since, actions);
                } else {
                    self.revival.reset();
                }
            }
            Role::Parked => self.lose_parked(id, exit, actions),
            Role::Serving | Role::Leaving => {}
        }
    }

    fn delay_revival(&mut self, now: Moment, since: Moment, actions: &mut Vec<Action>) {
        if let Some(delay) = self.revival.fail(now, since) {
            let failures = self.revival.failures();
            actions.push(Action::Report(Report::RevivalDelayed { failures, delay }));
        }
    }

    /// Replaces a serving generation whose process is gone: its workers serve, but nobody could fork their successors.
    pub(super) fn revive(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(serving) = self.serving() else {
            return;
        };
        let generation = &self.generations[&serving];
        if generation.process != Process::Gone
            || self.candidate().is_some()
            || self.revival.waits_until(now).is_some()
        {
            return;
        }
        let (reload, rules, workers) = (generation.reload, generation.rules, generation.workers);
        let generation = self.start_candidate(now, reload, rules, workers, actions);
        actions.push(Action::Report(Report::Reviving { generation }));
    }

    /// Makes the candidate the serving generation once all of its workers are ready.
    pub(super) fn commit(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(candidate) = self.candidate() else {
            return;
        };
        let ready = self.count(candidate, super::Worker::is_ready);
        if ready < usize::from(self.generations[&candidate].workers) {
            return;
        }
        let replaced = self.serving();
        if let Some(old) = replaced {
            self.begin_probation(now, candidate, old, actions);
        }
        let Some(generation) = self.generations.get_mut(&candidate) else {
            return;
        };
        generation.role = Role::Serving;
        let (reload, workers) = (generation.reload, generation.workers);
        let took = now.since(generation.rolls_since());
        let probation = generation
            .probation
            .as_ref()
            .map(|probation| probation.until.since(now));
        let report = match replaced {
            Some(replaced) if generation.returns_since.is_some() => Report::RolledBack {
                reload,
                generation: candidate,
                replaced,
                workers,
                took,
            },
            _ => Report::Serving {
                reload,
                generation: candidate,
                replaced,
                workers,
                took,
                probation,
            },
        };
        actions.push(Action::Commit {
            generation: candidate,
            reload,
        });
        actions.push(Action::Report(report));
        self.drain_replaced(now, actions);
    }

    /// The candidate cannot serve. With a serving generation, that one goes on; without, the server ends.
    pub(super) fn undo(
        &mut self,
        now: Moment,
        candidate: GenerationId,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let generation = &self.generations[&candidate];
        let (reload, since) = (generation.reload, generation.rolls_since());
        let returned = generation.returns_since.is_some();
        let code = failure.exit_code();
        let serving = self.serving();
        actions.push(Action::Report(Report::Undone {
            returned,
            reload,
            generation: candidate,
            failure,
            serving,
        }));
        self.take_out(now, candidate, Role::Leaving, Why::Undone, actions);
        match serving {
            Some(serving) if self.generations[&serving].process == Process::Gone => {
                self.delay_revival(now, since, actions);
            }
            Some(_) => {}
            None => self.begin_stop(now, stop::Force::Quick, code, actions),
        }
    }

    /// Takes a generation out of the play. What of it serves already goes on until it is replaced.
    pub(super) fn take_out(
        &mut self,
        now: Moment,
        id: GenerationId,
        role: Role,
        why: Why,
        actions: &mut Vec<Action>,
    ) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        generation.role = role;
        generation.probation = None;
        let graceful = generation.rules.graceful;
        for (&worker_id, worker) in &mut self.workers {
            if worker.generation == id
                && let Some(signal) = worker.discard(now, why, graceful)
            {
                actions.push(Action::Signal {
                    worker: worker_id,
                    signal,
                });
            }
        }
    }

    /// A worker could not be brought up. It costs a candidate its place, and the serving generation what it was to have
    /// more, or a delay.
    pub(super) fn boot_failed(
        &mut self,
        now: Moment,
        id: GenerationId,
        started: Moment,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        let Some(role) = self.generations.get(&id).map(|generation| generation.role) else {
            return;
        };
        match role {
            Role::Candidate => self.undo(now, id, failure, actions),
            Role::Serving if self.undo_scale(id, &failure, actions) => {}
            Role::Serving => self.delay_forks(now, id, started, failure, actions),
            Role::Parked | Role::Leaving => {}
        }
    }
}
