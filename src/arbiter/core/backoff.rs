//! Exponential back-off for what dies young: a crash loop never spins, and one death costs nothing.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use super::Moment;

/// What lived this long after it was ready did not die of its start.
pub const YOUNG: Duration = Duration::from_secs(10);
/// After the second failure in a row. The first may be chance: what follows it starts at once.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Counts rounds of deaths, not deaths: eight workers that die of the same cause at once are one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backoff {
    failures: u32,
    /// Nothing is started before.
    until: Option<Moment>,
}

impl Backoff {
    /// Something that was started at `started` died young. Tells the new delay when this is a new round.
    pub fn fail(&mut self, now: Moment, started: Moment) -> Option<Duration> {
        if self.until.is_some_and(|until| started < until) {
            return None; // of a round already counted
        }
        self.failures = self.failures.saturating_add(1);
        let delay = match self.failures {
            1 => Duration::ZERO,
            failures => DELAY_FIRST
                .saturating_mul(1 << (failures - 2).min(16))
                .min(DELAY_MAX),
        };
        self.until = Some(now + delay);
        Some(delay)
    }

    /// Something started since the last failure lived.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether something started at that moment belongs to the time after the last failure.
    pub fn is_after_failure(&self, started: Moment) -> bool {
        self.until.is_none_or(|until| started >= until)
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when nothing may be started, if that is in the future.
    pub fn waits_until(&self, now: Moment) -> Option<Moment> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn delays_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            let delay = backoff.fail(now, now).unwrap();
            delays.push(delay.as_millis());
            now = now + delay;
        }
        assert_eq!(
            delays,
            [
                0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000
            ]
        );
    }

    #[test]
    fn deaths_of_one_round_count_once() {
        let mut backoff = Backoff::default();
        assert!(backoff.fail(at(10), at(0)).is_some());
        assert!(backoff.fail(at(11), at(0)).is_none());
        assert_eq!(backoff.failures(), 1);
        assert!(backoff.waits_until(at(10)).is_none(), "one is chance");
    }
}
