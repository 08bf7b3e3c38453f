//! The only place where the arbiter reads the time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::core::Moment;

/// CLOCK_MONOTONIC, which is also what workers write into the scoreboard.
pub fn now() -> Moment {
    // It exists on every Linux, and its argument is a constant.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Moment::from_origin(time)
}
