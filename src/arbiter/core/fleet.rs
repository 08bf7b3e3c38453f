//! The workers: what happens to each, and how many there have to be.

use super::{
    ABORT_AFTER, Action, Core, Exit, Failure, GenerationId, Misconduct, Moment, Order, Process,
    Report, Retirement, Role, State, Why, Worker, WorkerId, WorkerReport,
};

impl Core {
    pub(super) fn forked(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let graceful = self.generations[&worker.generation].rules.graceful;
        let order = worker.on_forked(now, graceful);
        actions.extend(order.map(|order| Action::Signal { worker: id, order }));
    }

    pub(super) fn not_forked(
        &mut self,
        now: Moment,
        id: WorkerId,
        reason: String,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get(&id).copied() else {
            return;
        };
        if worker.is_forked() {
            return;
        }
        actions.push(Action::Report(Report::Worker {
            generation: worker.generation,
            worker: id,
            report: WorkerReport::NotForked {
                reason: reason.clone(),
            },
        }));
        self.release(id, actions);
        let failure = Failure::NotForked { reason };
        if worker.why().is_none() {
            self.boot_failed(now, worker.generation, worker.started, failure, actions);
        }
    }

    pub(super) fn ready(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if !matches!(worker.state, State::Booting { .. }) {
            return;
        }
        worker.state = State::Ready {
            since: now,
            wants: None,
        };
        actions.push(Action::Report(Report::Worker {
            generation: worker.generation,
            worker: id,
            report: WorkerReport::Ready {
                took: now.since(worker.started),
            },
        }));
    }

    /// It drains without our order; it has as long as with it.
    pub(super) fn leaves(&mut self, now: Moment, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let graceful = self.generations[&worker.generation].rules.graceful;
            let _told_already = worker.drain(now, Why::Outside, graceful);
        }
    }

    pub(super) fn wants_retirement(&mut self, id: WorkerId, why: Retirement) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let State::Ready { wants, .. } = &mut worker.state
        {
            *wants = Some(why);
        }
    }

    /// Its successor is forked at once, by what follows each event: a stuck worker does not count.
    pub(super) fn stalled(
        &mut self,
        now: Moment,
        id: WorkerId,
        since: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let limit = self.generations[&worker.generation].rules.stall;
        let stalled = now.since(since);
        if limit.is_zero() || stalled < limit || !worker.serves() {
            return;
        }
        worker.state = State::Stuck {
            since: now,
            abort_at: now + ABORT_AFTER,
        };
        let generation = worker.generation;
        self.note_death(generation);
        actions.push(Action::Report(Report::Worker {
            generation,
            worker: id,
            report: WorkerReport::Stuck { stalled },
        }));
        actions.push(Action::Signal {
            worker: id,
            order: Order::Drain,
        });
    }

    pub(super) fn worker_exited(
        &mut self,
        now: Moment,
        id: WorkerId,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get(&id).copied() else {
            return;
        };
        actions.push(Action::Report(Report::Worker {
            generation: worker.generation,
            worker: id,
            report: WorkerReport::Died {
                exit,
                why: worker.why(),
                uptime: now.since(worker.started),
            },
        }));
        self.release(id, actions);
        if worker.why().is_some() {
            return;
        }
        let id_of_generation = worker.generation;
        let was_serving = worker.serves();
        let failure = Failure::WorkerDied { worker: id, exit };
        if was_serving {
            self.note_death(id_of_generation);
        } else {
            self.accuse(id_of_generation, Misconduct::BootFailed(failure.clone()));
        }
        if !worker.dies_young(now) {
            if let Some(generation) = self.generations.get_mut(&id_of_generation) {
                generation.backoff.reset();
            }
            return;
        }
        self.reset_backoff_if_one_lived(now, id_of_generation);
        let role = self.generations[&id_of_generation].role;
        let started = worker.started;
        match role {
            // Before the first commit there is nothing to go back to: a worker that served is replaced, not the server ended.
            Role::Candidate if was_serving && self.serving().is_none() => {
                self.delay_forks(now, id_of_generation, started, failure, actions);
            }
            Role::Serving if was_serving => {
                self.delay_forks(now, id_of_generation, started, failure, actions);
            }
            Role::Candidate | Role::Serving | Role::Parked | Role::Leaving => {
                self.boot_failed(now, id_of_generation, started, failure, actions);
            }
        }
    }

    pub(super) fn delay_forks(
        &mut self,
        now: Moment,
        id: GenerationId,
        started: Moment,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        if let Some(generation) = self.generations.get_mut(&id)
            && let Some(delay) = generation.backoff.fail(now, started)
        {
            actions.push(Action::Report(Report::BackingOff {
                generation: id,
                failures: generation.backoff.failures(),
                failure,
                delay,
                serving: self.workers.values().filter(|w| w.serves()).count(),
                wanted: generation.workers,
            }));
        }
    }

    fn reset_backoff_if_one_lived(&mut self, now: Moment, id: GenerationId) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let one_lived = self.workers.values().any(|worker| {
            worker.generation == id
                && worker.serves()
                && !worker.dies_young(now)
                && generation.backoff.is_after_failure(worker.started)
        });
        if one_lived {
            generation.backoff.reset();
        }
    }

    fn release(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        if let Some(worker) = self.workers.remove(&id) {
            self.slots.release(worker.slot, id);
            actions.push(Action::Release {
                worker: id,
                slot: worker.slot,
            });
        }
    }

    /// The generation died before it answered: nobody will ever say whether these exist.
    pub(super) fn abandon_unforked(&mut self, generation: GenerationId, actions: &mut Vec<Action>) {
        let unforked: Vec<(WorkerId, u32)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.generation == generation && !worker.is_forked())
            .map(|(id, worker)| (*id, worker.slot))
            .collect();
        for (worker, slot) in unforked {
            actions.push(Action::Abandon { worker, slot });
            self.release(worker, actions);
        }
    }

    /// Drains workers that do not belong to the target, as many as it has replaced.
    pub(super) fn drain_replaced(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(target) = self.target() else {
            return;
        };
        let ready = self.count(target, Worker::is_ready);
        let wanted = usize::from(self.generations[&target].workers);
        let quota = if ready >= wanted {
            0
        } else {
            self.workers_before(target).saturating_sub(ready)
        };
        let mut others: Vec<(bool, WorkerId)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.generation != target && worker.serves())
            .map(|(id, worker)| (Some(worker.generation) == self.serving(), *id))
            .collect();
        others.sort(); // those of superseded candidates first, then the oldest
        let surplus = others.len().saturating_sub(quota);
        for (_, id) in others.into_iter().take(surplus) {
            self.drain(now, id, Why::Replaced, actions);
        }
    }

    /// Replaces workers that had their time, one at a time, each by a successor that is ready first. A roll replaces
    /// them anyway.
    pub(super) fn retire_in_turn(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(serving) = self.serving() else {
            return;
        };
        let generation = &self.generations[&serving];
        if self.candidate().is_some() || generation.process != Process::Prepared {
            return;
        }
        let wanted = usize::from(generation.workers);
        if self.count(serving, Worker::is_ready) < wanted {
            return;
        }
        let retiring = self.find(serving, Worker::is_retiring);
        if let Some((id, State::Retiring { why, .. })) = retiring {
            self.drain(now, id, Why::Retired(why), actions);
        }
        let wants = |worker: &Worker| matches!(worker.state, State::Ready { wants: Some(_), .. });
        if let Some((
            id,
            State::Ready {
                since,
                wants: Some(why),
            },
        )) = self.find(serving, wants)
        {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.state = State::Retiring { since, why };
            }
            actions.push(Action::Report(Report::Worker {
                generation: serving,
                worker: id,
                report: WorkerReport::Retires(why),
            }));
        }
    }

    /// Ends workers of the target that are too many: booting ones first, the newest of them, then the oldest.
    pub(super) fn drop_surplus(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(target) = self.target() else {
            return;
        };
        let wanted = usize::from(self.generations[&target].workers);
        let alive = self.count(target, Worker::is_alive);
        for _ in wanted..alive {
            let booting = self
                .workers
                .iter()
                .rfind(|(_, worker)| worker.generation == target && worker.is_booting())
                .map(|(id, _)| *id);
            if let Some(id) = booting {
                let graceful = self.generations[&target].rules.graceful;
                let worker = self.workers.get_mut(&id);
                let order = worker.and_then(|worker| worker.discard(now, Why::Scaled, graceful));
                actions.extend(order.map(|order| Action::Signal { worker: id, order }));
            } else if let Some((id, _)) = self.find(target, Worker::is_ready) {
                self.drain(now, id, Why::Scaled, actions);
            }
        }
    }

    pub(super) fn fork_missing(&mut self, now: Moment, actions: &mut Vec<Action>) {
        match (self.candidate(), self.serving()) {
            (Some(candidate), serving) => {
                if let Some(serving) = serving {
                    self.fork_fallback(now, candidate, serving, actions);
                }
                self.fork_candidates(now, candidate, actions);
            }
            (None, Some(serving)) => {
                let wanted = usize::from(self.generations[&serving].workers);
                let missing = wanted.saturating_sub(self.count(serving, Worker::is_alive));
                self.fork(now, serving, missing, actions);
            }
            (None, None) => {}
        }
    }

    /// While a candidate boots, the serving generation makes up for what nobody has replaced yet.
    fn fork_fallback(
        &mut self,
        now: Moment,
        candidate: GenerationId,
        serving: GenerationId,
        actions: &mut Vec<Action>,
    ) {
        let replaced = self.count(candidate, Worker::is_ready);
        let others = self.workers.values().filter(|worker| {
            worker.generation != candidate
                && (worker.serves() || worker.generation == serving && worker.is_booting())
        });
        let wanted = self.workers_before(candidate).saturating_sub(replaced);
        let missing = wanted.saturating_sub(others.count());
        self.fork(now, serving, missing, actions);
    }

    /// As many at once as `surge` allows, and always one.
    fn fork_candidates(&mut self, now: Moment, candidate: GenerationId, actions: &mut Vec<Action>) {
        let generation = &self.generations[&candidate];
        let wanted = usize::from(generation.workers);
        let surge = usize::from(generation.rules.surge);
        let missing = wanted.saturating_sub(self.count(candidate, Worker::is_alive));
        let all = self
            .workers
            .values()
            .filter(|worker| worker.is_alive() || worker.is_retiring());
        let room = (wanted.max(self.workers_before(candidate)) + surge).saturating_sub(all.count());
        let booting = self.count(candidate, Worker::is_booting);
        let room = room.max(usize::from(booting == 0));
        self.fork(now, candidate, missing.min(room), actions);
    }

    fn fork(&mut self, now: Moment, id: GenerationId, missing: usize, actions: &mut Vec<Action>) {
        let generation = &self.generations[&id];
        if !generation.can_fork() || generation.backoff.waits_until(now).is_some() {
            return;
        }
        let deadline = now + generation.rules.boot;
        for _ in 0..missing.min(self.forks_allowed(id)) {
            let worker = WorkerId(self.workers_started + 1);
            // With every slot taken the next reaped worker makes room, and calls again.
            let Some(slot) = self.slots.take(worker) else {
                return;
            };
            self.workers_started = worker.0;
            self.workers.insert(
                worker,
                Worker {
                    generation: id,
                    slot,
                    started: now,
                    state: State::Forking { deadline },
                },
            );
            actions.push(Action::Fork {
                generation: id,
                worker,
                slot,
            });
        }
    }

    /// After two failures in a row one worker tries alone, and when it is ready the others follow. Were all of them to try, each
    /// round would cost as many boots, and tracebacks in the log, as there are workers missing.
    fn forks_allowed(&self, id: GenerationId) -> usize {
        let backoff = &self.generations[&id].backoff;
        if backoff.failures() < 2 {
            return usize::MAX;
        }
        let of_this_round = |worker: &Worker| backoff.is_after_failure(worker.started);
        match self.count(id, |worker| worker.is_ready() && of_this_round(worker)) {
            0 => 1_usize.saturating_sub(
                self.count(id, |worker| worker.is_booting() && of_this_round(worker)),
            ),
            _ => usize::MAX,
        }
    }

    fn drain(&mut self, now: Moment, id: WorkerId, why: Why, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let graceful = self.generations[&worker.generation].rules.graceful;
        if let Some(order) = worker.drain(now, why, graceful) {
            actions.push(Action::Signal { worker: id, order });
        }
    }

    /// The generation that is to have all the workers.
    fn target(&self) -> Option<GenerationId> {
        self.candidate().or_else(|| self.serving())
    }

    /// How many workers are to serve while the target boots: as many as the serving generation had.
    fn workers_before(&self, target: GenerationId) -> usize {
        let before = self.serving().unwrap_or(target);
        usize::from(self.generations[&before].workers)
    }

    pub(super) fn count(&self, generation: GenerationId, is: impl Fn(&Worker) -> bool) -> usize {
        self.workers
            .values()
            .filter(|worker| worker.generation == generation && is(worker))
            .count()
    }

    /// The oldest such worker.
    fn find(
        &self,
        generation: GenerationId,
        is: impl Fn(&Worker) -> bool,
    ) -> Option<(WorkerId, State)> {
        self.workers
            .iter()
            .find(|(_, worker)| worker.generation == generation && is(worker))
            .map(|(id, worker)| (*id, worker.state))
    }
}
