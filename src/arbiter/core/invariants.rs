//! What is true of the core after every step.

use super::{Core, Phase, Process, Role, Worker};

impl Core {
    /// # Panics
    /// When the core has a fault.
    pub fn assert_invariants(&self) {
        for role in [Role::Candidate, Role::Serving, Role::Parked] {
            let number = self.generations.values().filter(|g| g.role == role).count();
            assert!(number <= 1, "at most one generation is {role:?}");
        }
        assert_eq!(
            self.slots.taken(),
            self.workers.len(),
            "a worker holds a slot until it is reaped, and nobody else does"
        );
        for (id, worker) in &self.workers {
            assert_eq!(self.slots.holder(worker.slot), Some(*id));
            self.assert_worker(worker);
        }
        for (id, generation) in &self.generations {
            assert!(
                generation.probation.is_none() || self.with_role(Role::Parked).is_some(),
                "who is on probation can be replaced: {id:?}"
            );
            assert!(
                generation.role != Role::Parked || generation.process == Process::Prepared,
                "what is parked can come back: {id:?}"
            );
        }
        if self.phase != Phase::Running {
            assert!(
                self.generations.values().all(|g| g.role == Role::Leaving),
                "a server that stops keeps nothing"
            );
        }
        assert!(
            self.phase != Phase::Finished || self.workers.is_empty(),
            "the arbiter is the last to leave"
        );
    }

    fn assert_worker(&self, worker: &Worker) {
        let generation = self.generations.get(&worker.generation);
        let generation = generation.expect("a generation outlives its workers");
        assert!(
            worker.is_forked() || generation.process != Process::Gone,
            "nobody is left to fork this worker"
        );
        assert!(
            !matches!(generation.role, Role::Leaving | Role::Parked) || !worker.is_booting(),
            "a generation that leaves boots no worker"
        );
    }
}
