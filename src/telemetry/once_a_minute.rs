//! A bound for lines that clients can cause as often as they like.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys;

const MINUTE_NS: u64 = 60_000_000_000;

/// Lets one line of a kind into the log in a minute. A static of who writes that kind, so that it holds for the process.
#[derive(Debug)]
pub struct OnceAMinute {
    /// CLOCK_MONOTONIC nanoseconds.
    not_before_ns: AtomicU64,
}

impl OnceAMinute {
    #[expect(
        clippy::new_without_default,
        reason = "a static cannot be made by `default`"
    )]
    pub const fn new() -> Self {
        Self {
            not_before_ns: AtomicU64::new(0),
        }
    }

    /// Whether the line may be written now; if so, nobody else may for a minute.
    pub fn claim(&self) -> bool {
        self.claim_at(sys::monotonic_ns())
    }

    fn claim_at(&self, now_ns: u64) -> bool {
        let not_before_ns = self.not_before_ns.load(Relaxed);
        let next_ns = now_ns + MINUTE_NS;
        now_ns >= not_before_ns
            && (self.not_before_ns)
                .compare_exchange(not_before_ns, next_ns, Relaxed, Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_minute_for_itself() {
        let line = OnceAMinute::new();
        assert!(line.claim_at(7));
        assert!(!line.claim_at(8) && !line.claim_at(6 + MINUTE_NS));
        assert!(line.claim_at(7 + MINUTE_NS));
        assert!(!line.claim_at(8 + MINUTE_NS));
    }
}
