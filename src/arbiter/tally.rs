//! What each generation answered, all of its workers together, those that left included.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use serde::{Deserialize, Serialize};

use super::core::{Counts, GenerationId, Moment};
use crate::wire::{Scoreboard, Slot};

/// Between two looks: so long may a bad generation go on, beside the time that its answers take to be enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Of workers that left.
    left: BTreeMap<GenerationId, Counts>,
    /// `None`: nobody is counting.
    pub(super) next_look: Option<Moment>,
}

impl Tally {
    /// To be called before the slot is cleared.
    pub(super) fn keep(&mut self, slot: &Slot) {
        add(&mut self.left, slot);
    }

    pub(super) fn forget(&mut self, generation: GenerationId) {
        self.left.remove(&generation);
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.next_look.is_none_or(|at| at <= now)
    }

    /// By generation, in the order of their start.
    pub(super) fn count(
        &mut self,
        now: Moment,
        board: &Scoreboard,
    ) -> BTreeMap<GenerationId, Counts> {
        self.next_look = Some(now + LOOK_EVERY);
        let mut counts = self.left.clone();
        for slot in board.slots_in_use() {
            add(&mut counts, slot);
        }
        counts
    }
}

fn add(counts: &mut BTreeMap<GenerationId, Counts>, slot: &Slot) {
    let generation = slot.generation();
    if generation != 0 {
        let counts = counts.entry(GenerationId(generation)).or_default();
        counts.requests += slot.requests.load(Relaxed);
        counts.errors += slot.errors.load(Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_workers_that_left_still_count_until_their_generation_is_forgotten() {
        let board = Scoreboard::create().unwrap();
        let mut tally = Tally::default();
        for (slot, generation, errors) in [(0, 1, 3), (1, 1, 0), (2, 2, 1)] {
            board.assign(slot, u64::from(slot) + 1, generation);
            let slot = &board.slots()[slot as usize];
            slot.requests.store(10, Relaxed);
            slot.errors.store(errors, Relaxed);
        }
        tally.keep(&board.slots()[0]);
        board.release(0);
        let now = Moment::from_origin(Duration::ZERO);
        let told: Vec<_> = tally.count(now, &board).into_values().collect();
        let counts = |requests, errors| Counts { requests, errors };
        assert_eq!(told, [counts(20, 3), counts(10, 1)]);
        assert!(!tally.is_due(now));
        tally.forget(GenerationId(1));
        assert_eq!(tally.count(now, &board)[&GenerationId(1)], counts(10, 0));
    }
}
