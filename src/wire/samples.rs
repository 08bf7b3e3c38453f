//! The last durations of a worker's requests as they were, in its slot of the scoreboard: a histogram does not tell a receiver
//! of timers what it wants to know.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How many are kept.
pub const SAMPLES: usize = 64;

/// A ring of durations.
#[repr(C, align(64))]
pub struct Samples {
    /// How many were ever taken; the latest stands before this place, counted modulo [`SAMPLES`].
    taken: AtomicU64,
    /// Microseconds.
    durations: [AtomicU32; SAMPLES],
}

impl Samples {
    pub fn take(&self, ns: u64) {
        let taken = self.taken.load(Relaxed);
        let us = u32::try_from(ns / 1_000).unwrap_or(u32::MAX);
        self.durations[taken as usize % SAMPLES].store(us, Relaxed);
        self.taken.store(taken.wrapping_add(1), Relaxed);
    }

    /// How many were ever taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// The latest, microseconds, but not more than `count` and [`SAMPLES`]. One that is replaced meanwhile is read as
    /// what replaces it.
    pub fn latest(&self, count: u64) -> impl Iterator<Item = u32> + '_ {
        let taken = self.taken();
        let count = count.min(taken).min(SAMPLES as u64);
        (taken - count..taken).map(|index| self.durations[index as usize % SAMPLES].load(Relaxed))
    }

    pub(super) fn clear(&self) {
        self.taken.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_durations_are_kept() {
        let samples = Samples {
            taken: AtomicU64::new(0),
            durations: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        assert_eq!(samples.latest(10).count(), 0);
        for us in 0..SAMPLES as u64 + 3 {
            samples.take(us * 1_000);
        }
        let latest: Vec<_> = samples.latest(2).collect();
        assert_eq!(latest, [SAMPLES as u32 + 1, SAMPLES as u32 + 2]);
        assert_eq!(samples.latest(1_000).count(), SAMPLES);
    }
}
