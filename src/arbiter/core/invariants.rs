//! What is true of the core after every step.

use super::{Core, Phase, Process, Role, Worker};

impl Core {
    /// # Panics
    /// When the core has a fault.
    pub fn assert_invariants(&self) {
        for role in [Role::Candidate, Role::Serving] {
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
            generation.role != Role::Leaving || !worker.is_booting(),
            "a generation that leaves boots no worker"
        );
    }
}
