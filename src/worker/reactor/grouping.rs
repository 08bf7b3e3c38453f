//! Requests that are received in groups.
//!
//! What the kernel runs to receive a request throws out of the processor's caches what the app runs to answer one, and the
//! other way round. So where calls are shorter than that is worth, several requests of a batch are received one after the
//! other, and then the app is called for each. A request that was received can no longer go to another worker: should one
//! of these calls last after all, a few others wait for it. Hence only after many quick calls in a row, and few at once.

use super::Reactor;

/// Requests received before the app is called for the first of them.
const GROUP_MAX: usize = 8;
/// For longer calls, nanoseconds, it would make no difference.
const CALL_NS_MAX: u64 = 20_000;
/// Calls in a row that have to have been so quick.
const STREAK_MIN: u32 = 64;

/// How many calls in a row have been quick.
#[derive(Default)]
pub(super) struct Streak(u32);

impl Streak {
    pub(super) fn note(&mut self, call_ns: u64) {
        self.0 = match call_ns <= CALL_NS_MAX {
            true => self.0.saturating_add(1),
            false => 0,
        };
    }

    fn group(&self) -> usize {
        match self.0 >= STREAK_MIN {
            true => GROUP_MAX,
            false => 0,
        }
    }
}

impl Reactor {
    /// Receives requests until a group of them waits for a thread, or there is no event left.
    pub(super) fn receive_group(&mut self) {
        let group = self.streak.group();
        while self.waiting.requests_in_line() < group
            && let Some(event) = self.events.pop_front()
        {
            if let Some(job) = self.on_event(event, true) {
                self.waiting.push(job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_lasts_ends_the_groups_for_a_while() {
        let mut streak = Streak::default();
        (1..STREAK_MIN).for_each(|_| streak.note(1_000));
        assert_eq!(streak.group(), 0, "not yet");
        streak.note(CALL_NS_MAX);
        assert_eq!(streak.group(), GROUP_MAX);
        streak.note(CALL_NS_MAX + 1);
        assert_eq!(streak.group(), 0);
    }
}
