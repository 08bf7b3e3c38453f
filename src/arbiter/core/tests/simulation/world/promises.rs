//! What must be true at every moment, and what long after everybody left it alone.

use super::*;

impl World {
    /// Who serves is never given away: capacity goes down with what is wanted, or by a fault, and by nothing else.
    pub(in super::super) fn assert_capacity(&mut self) {
        let is_deadly = |(id, _): &(GenerationId, Fate)| self.kind(*id) == Kind::Deadly;
        let may_lose = self.is_wild || self.workers.values().any(is_deadly);
        if self.core.is_stopping() || self.core.serving().is_none() || may_lose {
            self.floor = 0;
            return;
        }
        let ready = self
            .workers
            .values()
            .filter(|(_, fate)| *fate == Fate::Ready);
        let capacity = ready.count();
        let roles = self.core.generations.values();
        let wanted = roles
            .filter(|generation| matches!(generation.role, Role::Serving | Role::Candidate))
            .map(|generation| usize::from(generation.workers))
            .min()
            .unwrap_or(0);
        let floor = self.floor.min(wanted);
        assert!(capacity >= floor, "{capacity} serve, and {floor} did");
        self.floor = floor.max(capacity.min(wanted));
    }

    /// Who may finish is let finish, however often a graceful stop is asked for.
    pub(super) fn assert_grace(&self, worker: WorkerId, signal: WorkerSignal, told: Moment) {
        let why = self.core.worker(worker).and_then(Worker::why);
        let is_forced = signal != WorkerSignal::Drain && why == Some(Why::Stopping);
        if self.stops_gracefully && is_forced {
            let had = self.now.since(told);
            assert!(had >= GRACEFUL, "{worker:?} had only {had:?}");
        }
    }

    pub(in super::super) fn assert_deadlines(&self) {
        let kept = self
            .generations
            .iter()
            .filter(|(id, (_, lives))| *lives && !self.dismissed.contains(id));
        assert!(kept.count() <= 3, "one serves, one boots, one is parked");
        let to_leave = GRACEFUL + ABORT_AFTER + KILL_AFTER + KILL_AFTER + SLACK;
        for (id, (_, fate)) in &self.workers {
            if let Fate::Ending(since) = fate {
                let took = self.now.since(*since);
                assert!(took <= to_leave, "{id:?} leaves since {took:?}");
            }
        }
        if let Some(candidate) = self.core.candidate() {
            let generation = &self.core.generations[&candidate];
            let rounds = u32::from(generation.workers) + 2;
            let took = self.now.since(generation.rolls_since());
            assert!(took <= BOOT * rounds + to_leave, "boots since {took:?}");
        }
        if let Some(since) = self.stopped.filter(|_| self.finished.is_none()) {
            let took = self.now.since(since);
            let most = BOOT + to_leave + GENERATION_LEAVES_WITHIN + SLACK;
            assert!(took <= most, "stops since {took:?}");
        }
    }

    /// Long after everybody left it alone.
    pub(in super::super) fn assert_outcome(&self) {
        if self.core.is_stopping() {
            assert!(self.finished.is_some(), "a stop ends");
            assert!(self.workers.is_empty(), "nothing is left");
            assert!(
                self.stopped.is_some() || !self.has_served,
                "nobody asked for it"
            );
            return;
        }
        assert_eq!(self.core.candidate(), None);
        let serving = self.core.serving().expect("something serves");
        let generation = &self.core.generations[&serving];
        if self.kind(serving) == Kind::Good {
            let wanted = usize::from(generation.workers);
            let ready = self
                .workers
                .values()
                .filter(|(_, fate)| *fate == Fate::Ready);
            assert_eq!(ready.count(), wanted, "all serve");
            assert_eq!(self.workers.len(), wanted, "nobody else is left");
            assert_eq!(self.core.generations.len(), 1, "what was replaced is gone");
        }
        if !self.is_wild && self.kinds[self.file.code] == Kind::Good {
            let (reload, _) = self.generations[&serving];
            assert_eq!(self.texts[&reload], self.file, "the last edit wins");
        }
    }
}
