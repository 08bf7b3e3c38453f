//! The wall clock, reckoned from the monotonic one: a line of the access log needs both, and is worth one question.

use std::sync::atomic::{
    AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::sys;

/// A wall clock that somebody set shows after so long.
const ASK_AGAIN_NS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// Wall time less monotonic time, in microseconds.
    ahead_us: AtomicI64,
    /// Monotonic time from which the wall clock is to be asked again.
    stale_at_ns: AtomicU64,
}

impl WallClock {
    /// Microseconds since 1970 at this monotonic time, which was a moment ago.
    pub(super) fn micros_at(&self, monotonic_ns: u64) -> i64 {
        if monotonic_ns >= self.stale_at_ns.load(Acquire) {
            let now_ns = sys::monotonic_ns();
            let ahead_us = sys::unix_micros() - micros(now_ns);
            self.ahead_us.store(ahead_us, Relaxed);
            self.stale_at_ns.store(now_ns + ASK_AGAIN_NS, Release);
        }
        micros(monotonic_ns) + self.ahead_us.load(Relaxed)
    }
}

fn micros(ns: u64) -> i64 {
    (ns / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_the_wall_clock_and_asks_it_once_a_second() {
        let clock = WallClock::default();
        let now_ns = sys::monotonic_ns();
        let told = clock.micros_at(now_ns);
        assert!((sys::unix_micros() - told).abs() < 1_000_000);
        assert_eq!(clock.micros_at(now_ns + 5_000_000), told + 5000);
        clock.ahead_us.store(0, Relaxed);
        assert_eq!(clock.micros_at(now_ns), micros(now_ns), "not asked again");
        let later_ns = now_ns + 2 * ASK_AGAIN_NS;
        assert!(clock.micros_at(later_ns) > told, "asked again");
    }
}
