//! The only place where the arbiter reads the time.

use std::time::Duration;

use super::core::Moment;

/// CLOCK_MONOTONIC, which is also what workers write into the scoreboard.
pub fn now() -> Moment {
    Moment::from_origin(Duration::from_nanos(crate::sys::monotonic_ns()))
}
