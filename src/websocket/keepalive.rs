//! Whether the client is still there: pings after a silence, and how long a sign of life may take.

use std::time::{Duration, Instant};

/// The wait for a sign of life. Any byte of the client is one: who sends needs no ping.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// `None`: no pings.
    interval: Option<Duration>,
    timeout: Duration,
    heard_at: Instant,
    /// When a ping was sent that nothing has followed yet.
    pinged_at: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The client is gone.
    Verdict,
}

impl Keepalive {
    pub(super) fn new(interval: Option<Duration>, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            heard_at: now,
            pinged_at: None,
        }
    }

    #[inline]
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// When something is due; `None` for never, which is also what a duration means that goes beyond all time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let interval = self.interval?;
        match self.pinged_at {
            None => self.heard_at.checked_add(interval),
            Some(pinged_at) => pinged_at.checked_add(self.timeout),
        }
    }

    /// What is due now. A ping that is due counts as sent.
    pub(super) fn tick(&mut self, now: Instant) -> Due {
        match (self.deadline(), self.pinged_at) {
            (Some(deadline), Some(_)) if deadline <= now => Due::Verdict,
            (Some(deadline), None) if deadline <= now => {
                self.pinged_at = Some(now);
                Due::Ping
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_client_is_pinged_and_then_given_up() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(Some(20 * SECOND), 5 * SECOND, start);
        assert_eq!(keepalive.tick(start + 19 * SECOND), Due::Nothing);
        assert_eq!(keepalive.tick(start + 20 * SECOND), Due::Ping);
        assert_eq!(keepalive.deadline(), Some(start + 25 * SECOND));
        assert_eq!(keepalive.tick(start + 24 * SECOND), Due::Nothing);
        assert_eq!(keepalive.tick(start + 25 * SECOND), Due::Verdict);
    }

    #[test]
    fn any_sign_of_life_starts_the_wait_again() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(Some(20 * SECOND), 5 * SECOND, start);
        keepalive.heard(start + 10 * SECOND);
        assert_eq!(keepalive.tick(start + 20 * SECOND), Due::Nothing);
        assert_eq!(keepalive.tick(start + 30 * SECOND), Due::Ping);
        keepalive.heard(start + 31 * SECOND);
        assert_eq!(keepalive.deadline(), Some(start + 51 * SECOND));
    }

    #[test]
    fn without_an_interval_nothing_is_ever_due() {
        let start = Instant::now();
        assert_eq!(Keepalive::new(None, SECOND, start).deadline(), None);
        let endless = Keepalive::new(Some(Duration::MAX), SECOND, start);
        assert_eq!(endless.deadline(), None);
    }
}
