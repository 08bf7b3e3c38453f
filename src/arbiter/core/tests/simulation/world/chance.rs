//! Luck: numbers made from the seed, so that a schedule can be played again.

use super::{BUSY, Duration, World};

impl World {
    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub(super) fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }

    /// A fault that only a wild schedule has.
    pub(super) fn fault(&mut self, per_cent: u64) -> bool {
        self.chance(per_cent) && self.is_wild && self.age() < BUSY
    }

    pub(super) fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.below(most))
    }
}
