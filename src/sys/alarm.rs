//! A thread's alarm clock, which others set: it sleeps through the setting, and wakes up at the time.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

/// For one sleeper (timerfd_create(2)).
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    pub fn create() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        Ok(Self(timer))
    }

    /// Wakes the sleeper after `delay`, whatever was set before. Does not wait, and costs less than to wake it now.
    pub fn set(&self, delay: Duration) {
        // Zero would be: never. No other time is refused.
        let at = Expiration::OneShot(delay.max(Duration::from_nanos(1)).into());
        let _ = self.0.set(at, TimerSetTimeFlags::empty());
    }

    /// Sleeps until it goes off; at once, if it did since the last sleep.
    pub fn sleep(&self) {
        while self.0.wait() == Err(Errno::EINTR) {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_sleeper_wakes_up_at_the_time_that_was_set_last() {
        let alarm = Alarm::create().unwrap();
        let begin = Instant::now();
        alarm.set(Duration::from_secs(600));
        alarm.set(Duration::from_millis(20));
        alarm.sleep();
        assert!(begin.elapsed() >= Duration::from_millis(20));
        alarm.set(Duration::ZERO);
        alarm.sleep();
    }
}
