//! Another number of workers than the file has, by order. More of them are a trial, as a reload is: when one of them cannot
//! boot, there are as many as before, and nothing is tried again until somebody asks.

use super::{Action, Core, Failure, GenerationId, Report, Role, Worker};

impl Core {
    /// TTIN, TTOU and orders of the admin interface.
    pub(super) fn scale(&mut self, change: impl Fn(u16) -> u16, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            return;
        }
        // Half of the slots, so that a roll always has room.
        let workers_max = u16::try_from(self.slots.max() / 2).unwrap_or(u16::MAX);
        let mut wanted = 0;
        for generation in self.generations.values_mut() {
            if generation.role == Role::Leaving {
                continue;
            }
            wanted = change(generation.workers).clamp(1, workers_max);
            let before = generation.scaled_from.unwrap_or(generation.workers);
            // A candidate that cannot boot them is undone as a whole.
            let is_trial = generation.role == Role::Serving && wanted > before;
            generation.scaled_from = is_trial.then_some(before);
            generation.workers = wanted;
        }
        actions.push(Action::Report(Report::Scaled { workers: wanted }));
    }

    /// A worker of the serving generation could not boot. False unless that undoes an order for more of them.
    pub(super) fn undo_scale(
        &mut self,
        id: GenerationId,
        failure: &Failure,
        actions: &mut Vec<Action>,
    ) -> bool {
        // What a candidate brings may be the mend.
        let is_alone = self.candidate().is_none();
        let generation = self.generations.get_mut(&id).filter(|_| is_alone);
        let Some((generation, workers)) = generation.and_then(|generation| {
            let workers = generation.scaled_from.take()?;
            Some((generation, workers))
        }) else {
            return false;
        };
        generation.workers = workers;
        actions.push(Action::Report(Report::ScaleUndone {
            generation: id,
            workers,
            failure: failure.clone(),
        }));
        true
    }

    /// What was ordered is there, and stays.
    pub(super) fn settle_scale(&mut self) {
        let Some(id) = self.serving() else {
            return;
        };
        let ready = self.count(id, Worker::is_ready);
        if let Some(generation) = self.generations.get_mut(&id)
            && ready >= usize::from(generation.workers)
        {
            generation.scaled_from = None;
        }
    }
}
