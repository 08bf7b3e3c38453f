//! The only place where the arbiter reads the time.

use std::time::Duration;

use super::core::Moment;

/// CLOCK_MONOTONIC, which is also what workers write into the scoreboard.
pub fn now() -> Moment {
    Moment::from_origin(Duration::from_nanos(crate::sys::monotonic_ns()))
}

/// Microseconds since the UNIX epoch: for people, never to compute with.
pub fn unix_us() -> u64 {
    u64::try_from(crate::sys::unix_micros()).unwrap_or(0)
}
