//! How long a request waits: for a client that does not read, or does not go on with its body, and for the app.

use pyo3::{intern, prelude::*};

use super::Exchange;
use crate::{
    config::LogLevel,
    http::Refusal,
    python::{
        asgi::{awaitable::Awaited, client::is_stuck, send::send_waiting_head},
        stacks,
    },
    sys::Readiness,
};

/// Seconds after a client closed its sending side before the app is told that it is gone.
pub(super) const HALF_CLOSE_GRACE: f64 = 0.5;

impl Exchange {
    /// Looks at the deadlines.
    pub(in crate::python::asgi) fn sweep(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        Self::tell_if_slow(this, now_ns)?;
        let gateway = &this.get().gateway;
        let mut state = this.get().state.borrow(this.py());
        let began_ns = state.began_ns;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        gateway.hub.count_traffic(connection);
        let now_ms = now_ns / 1_000_000;
        let is_late = is_stuck(connection, now_ms) || state.body_due_ms <= now_ms;
        let is_over = gateway.is_past_request_timeout(began_ns, now_ns);
        drop(state);
        match (is_over, is_late) {
            (true, _) => Self::time_out(this),
            (false, true) => Self::expire(this, now_ns),
            (false, false) => send_waiting_head(this),
        }
    }

    /// Tells of it once, if it has been with the app for long: where its task waits.
    fn tell_if_slow(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let (py, station) = (this.py(), &this.get().gateway.hub.station);
        let mut state = this.get().state.borrow(py);
        let age_ns = now_ns.saturating_sub(state.began_ns);
        if state.is_reported_slow || station.slow.limit_ns().is_none_or(|limit| age_ns <= limit) {
            return Ok(());
        }
        state.is_reported_slow = true;
        let Some((connection, task)) = state.connection.as_ref().zip(state.task.as_ref()) else {
            return Ok(());
        };
        let id = station.request_ids.prefix(connection);
        let what = format!("{id}{}", connection.described());
        let task = task.clone_ref(py);
        drop(state);
        let Some(headline) = (station.slow).headline(station.slot(), &what, age_ns, now_ns) else {
            return Ok(());
        };
        let stack = stacks::of_task(task.bind(py));
        py.detach(|| {
            crate::telemetry::block(LogLevel::Warning, format_args!("{headline}"), &stack);
        });
        Ok(())
    }

    /// `timeouts.request` is over: answers in the app's place and cancels its task.
    fn time_out(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        state.timed_out = true;
        let ids = &this.get().gateway.hub.station.request_ids;
        let (id, request) = ids.name(state.connection.as_deref());
        let task = state.task.as_ref().map(|task| task.clone_ref(py));
        drop(state);
        Self::refuse(this, Refusal::APP_TIMEOUT);
        py.detach(|| crate::error!("{id}cancelled after timeouts.request: {request}"));
        match task {
            Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// The client took too long, unless the kernel knows better: the app may have blocked the loop since.
    fn expire(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let state = this.get().state.borrow(this.py());
        let Some(connection) = &state.connection else {
            return Ok(());
        };
        let readiness = Readiness::now(connection.socket());
        drop(state);
        Self::on_event(this, readiness)?;
        let mut state = this.get().state.borrow(this.py());
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        let now_ms = now_ns / 1_000_000;
        let reads_first = !connection.output.is_empty();
        if is_stuck(connection, now_ms) {
            drop(state);
            return Self::lose_client(this);
        }
        if state.body_due_ms > now_ms {
            return Ok(());
        }
        if readiness.can_read() {
            // It is the app's turn; a part that is too short for it sets a new deadline.
            state.body_due_ms = u64::MAX;
        } else if reads_first {
            state.body_due_ms = now_ms + this.get().gateway.body_ms();
        } else {
            drop(state);
            Self::refuse(this, Refusal::BODY_TIMEOUT);
        }
        Ok(())
    }

    /// The client closed its sending side: after a while that counts as gone.
    pub(in crate::python::asgi) fn start_grace(this: &Bound<'_, Self>) -> PyResult<()> {
        let over = this.getattr(intern!(this.py(), "_grace_is_over"))?;
        this.get()
            .gateway
            .call_later(this.py(), HALF_CLOSE_GRACE, &over)
    }
}

#[pymethods]
impl Exchange {
    fn _grace_is_over(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let mut state = this.get().state.borrow(py);
        if state.connection.is_none() {
            return Ok(());
        }
        state.disconnected = true;
        let receivers = state.waiters.take(Awaited::Message);
        drop(state);
        receivers.wake(py)
    }
}
