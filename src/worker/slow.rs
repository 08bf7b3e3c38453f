//! Requests that have been with the app for longer than `log.slow`: each is told of once, and not too many of them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{config::Log, wire::Slot};

/// So many are told of in a window of so long; a log full of stacks helps nobody, and each takes a while to make.
const TOLD_MAX: u32 = 10;
const WINDOW_NS: u64 = 10_000_000_000;

#[derive(Debug, Default)]
pub struct SlowRequests {
    /// Zero: no request is called slow.
    limit_ns: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since_ns: u64,
    told: u32,
    left_out: u32,
}

impl SlowRequests {
    pub(super) fn go_by(&self, log: &Log) {
        self.limit_ns.store(log.slow.as_nanos() as u64, Relaxed);
    }

    /// After how long a request is slow; `None`: none ever is.
    pub fn limit_ns(&self) -> Option<u64> {
        match self.limit_ns.load(Relaxed) {
            0 => None,
            limit_ns => Some(limit_ns),
        }
    }

    /// The line about a request, `what` it is and for how long it has been with the app; `None` when there have been too
    /// many of late.
    pub fn headline(&self, slot: &Slot, what: &str, age_ns: u64, now_ns: u64) -> Option<String> {
        let left_out = self.admit(now_ns)?;
        let (id, request) = what.split_at(what.find(' ').map_or(0, |end| end + 1));
        let (id, request) = match id.starts_with("request_id=") {
            true => (id, request),
            false => ("", what),
        };
        let age = Duration::from_nanos(age_ns).as_secs_f64();
        let (generation, worker) = (slot.generation(), slot.worker());
        let more = match left_out {
            0 => String::new(),
            count => format!(" ({count} other slow requests were not told of)"),
        };
        Some(format!(
            "generation={generation} worker={worker} {id}slow: {request} has been with the app for {age:.2}s{more}"
        ))
    }

    /// How many were left out before this one; `None`: this one is, too.
    fn admit(&self, now_ns: u64) -> Option<u32> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ns.saturating_sub(window.since_ns) > WINDOW_NS {
            (window.since_ns, window.told) = (now_ns, 0);
        }
        if window.told == TOLD_MAX {
            window.left_out += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_in_a_row_are_counted_instead() {
        let slow = SlowRequests::default();
        let begin = 1_000 * WINDOW_NS;
        for _ in 0..TOLD_MAX {
            assert_eq!(slow.admit(begin), Some(0));
        }
        assert_eq!(slow.admit(begin + 1), None);
        assert_eq!(slow.admit(begin + WINDOW_NS), None);
        assert_eq!(slow.admit(begin + WINDOW_NS + 1), Some(2));
        assert_eq!(slow.admit(begin + WINDOW_NS + 2), Some(0));
    }
}
