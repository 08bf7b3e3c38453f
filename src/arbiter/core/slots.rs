//! Which worker holds which slot of the scoreboard. A slot is free only once its worker is reaped, so that what a
//! dying worker still writes can never be taken for its successor's.

use serde::{Deserialize, Serialize};

use super::WorkerId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slots {
    holders: Vec<Option<WorkerId>>,
    slots_max: usize,
}

impl Slots {
    pub(super) fn new(slots_max: usize) -> Self {
        Self {
            holders: Vec::new(),
            slots_max,
        }
    }

    /// Gives the lowest free slot away: pages of the scoreboard that nobody touched take no memory.
    pub(super) fn take(&mut self, worker: WorkerId) -> Option<u32> {
        if let Some(index) = self.holders.iter().position(Option::is_none) {
            self.holders[index] = Some(worker);
            return u32::try_from(index).ok();
        }
        if self.holders.len() == self.slots_max {
            return None;
        }
        self.holders.push(Some(worker));
        u32::try_from(self.holders.len() - 1).ok()
    }

    pub(super) fn release(&mut self, slot: u32, worker: WorkerId) {
        let holder = &mut self.holders[slot as usize];
        assert_eq!(*holder, Some(worker), "a worker gives back its own slot");
        *holder = None;
    }

    pub(super) fn max(&self) -> usize {
        self.slots_max
    }

    pub(super) fn holder(&self, slot: u32) -> Option<WorkerId> {
        self.holders.get(slot as usize).copied().flatten()
    }

    pub(super) fn taken(&self) -> usize {
        self.holders.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_given_and_a_full_board_gives_none() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.take(WorkerId(1)), Some(0));
        assert_eq!(slots.take(WorkerId(2)), Some(1));
        assert_eq!(slots.take(WorkerId(3)), None);
        slots.release(0, WorkerId(1));
        assert_eq!(slots.take(WorkerId(3)), Some(0));
    }
}
