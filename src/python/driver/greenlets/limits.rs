//! How long requests may be with the app: they are told of when they are slow, and interrupted when their time is over.

use std::sync::Arc;

use pyo3::prelude::*;

use super::Greenlets;
use crate::{
    config::LogLevel,
    python::{RequestTimeout, stacks},
    sys,
    telemetry::block,
};

/// The least time between two looks for requests that take too long.
const LOOK_EVERY_NS: u64 = 10_000_000;

impl Greenlets {
    /// After how long a request is interrupted, and told to be slow; zero: never.
    fn limits_ns(&self) -> [u64; 2] {
        let station = &self.green.hub.station;
        let slow_ns = station.slow.limit_ns().unwrap_or(0);
        [station.live.request_timeout_ns(), slow_ns]
    }

    /// Looks at the time limits of the requests that are with the app.
    pub(super) fn look_at_calls(&self, py: Python<'_>) -> PyResult<()> {
        let limits_ns = self.limits_ns();
        let now_ns = sys::monotonic_ns();
        let mut state = self.state.borrow(py);
        let is_as_before = std::mem::replace(&mut state.limits_ns, limits_ns) == limits_ns;
        let limits_ns = || limits_ns.into_iter().filter(|limit_ns| *limit_ns > 0);
        let Some(shortest_ns) = limits_ns().min() else {
            return Ok(());
        };
        if is_as_before && now_ns < state.look_ns {
            return Ok(());
        }
        let seats = state.members.iter().flatten().map(|member| &member.seat);
        let due_ns = seats
            .flat_map(|seat| limits_ns().filter_map(|limit_ns| seat.due_ns(limit_ns)))
            .filter(|due_ns| *due_ns > now_ns);
        let look_ns = due_ns.fold(now_ns + shortest_ns, u64::min);
        state.look_ns = look_ns.max(now_ns + LOOK_EVERY_NS);
        drop(state);
        self.tell_the_slow(py, now_ns)?;
        self.interrupt_the_overdue(py, now_ns)
    }

    /// Tells, once for each, of requests that have been with the app for long: where their greenlet waits.
    fn tell_the_slow(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        let station = &self.green.hub.station;
        let Some(limit_ns) = station.slow.limit_ns() else {
            return Ok(());
        };
        let state = self.state.borrow(py);
        let members = state.members.iter().flatten();
        let slow: Vec<_> = members
            .filter_map(|member| {
                let (_, age_ns, what) = member.seat.became_slow(now_ns, limit_ns)?;
                Some((member.greenlet.clone_ref(py), age_ns, what))
            })
            .collect();
        drop(state);
        for (greenlet, age_ns, what) in slow {
            let slot = station.slot();
            if let Some(headline) = station.slow.headline(slot, &what, age_ns, now_ns) {
                let stack = stacks::of_greenlet(greenlet.bind(py));
                py.detach(|| block(LogLevel::Warning, format_args!("{headline}"), &stack));
            }
        }
        Ok(())
    }

    /// Raises an exception in greenlets whose request takes longer than `timeouts.request`.
    fn interrupt_the_overdue(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        let limit_ns = self.green.hub.station.live.request_timeout_ns();
        if limit_ns == 0 {
            return Ok(());
        }
        let state = self.state.borrow(py);
        let members = state.members.iter().flatten();
        let overdue: Vec<_> = members
            .filter_map(|member| {
                let call = member.seat.time_out(now_ns, limit_ns)?;
                Some((
                    member.greenlet.clone_ref(py),
                    Arc::clone(&member.seat),
                    call,
                ))
            })
            .collect();
        drop(state);
        for (greenlet, seat, call) in overdue {
            // What the one before does in its last breath may have ended the next.
            if seat.is_in_call(call) {
                greenlet.call_method1(py, "throw", (py.get_type::<RequestTimeout>(),))?;
            }
        }
        Ok(())
    }
}
