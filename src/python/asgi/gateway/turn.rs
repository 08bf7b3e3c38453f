//! A turn: the loop calls [`Turn`] when the reactor's descriptor is readable and when time is up.

use std::{ffi::CStr, sync::Arc};

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use super::Gateway;
use crate::{
    python::{
        copy,
        driver::loop_watch,
        ffi::{self, Behaviour, Builtin},
        stacks,
    },
    sys,
    worker::Leaving,
};

/// How often the deadlines of exchanges are looked at, at the least, milliseconds.
const SWEEP_MS_MAX: u64 = 1_000;
/// And at the most.
const SWEEP_MS_MIN: u64 = 10;

/// What [`Turn`] is bound to.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Turning(Arc<Gateway>);

pub(super) struct Turn;

impl Builtin for Turn {
    type This = Turning;
    const NAME: &'static CStr = c"turn";
    const DOC: &'static CStr = c"turn()\n\nServe what has come in.";
    const BEHAVIOUR: Behaviour<Turning> = turn;
}

fn turn(turning: &Bound<'_, Turning>, _: &[Borrowed<'_, '_, PyAny>]) -> PyResult<Py<PyAny>> {
    let (py, gateway) = (turning.py(), &turning.get().0);
    copy::end_if_copy(py, None);
    if let Err(error) = gateway.turn(py) {
        // The server's own objects could not be made: out of memory, most likely.
        gateway.report(py, &error, "a worker's loop failed; the worker ends");
        gateway.stop(py)?;
        return Err(PyRuntimeError::new_err("the worker ends"));
    }
    Ok(py.None())
}

impl Gateway {
    /// The callable that makes a turn.
    pub(in crate::python::asgi) fn turn_callable(
        self: &Arc<Self>,
        py: Python<'_>,
    ) -> PyResult<Py<PyAny>> {
        let turning = Bound::new(py, Turning(Arc::clone(self)))?;
        let turn = ffi::builtin::<Turn>(&turning)?;
        self.inner.borrow(py).turn = Some(turn.clone_ref(py));
        Ok(turn)
    }

    fn turn(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let has_task_factory = !self.get_task_factory.bind(py).call0()?.is_none();
        let mut inner = self.inner.borrow(py);
        if inner.has_ended {
            return Ok(());
        }
        inner.is_turning = true;
        inner.has_task_factory = has_task_factory;
        drop(inner);
        match self.hub.has_cold_work() {
            true => py.detach(|| self.hub.turn()),
            false => self.hub.turn(),
        }
        loop {
            while let Some(connection) = self.hub.next_job() {
                self.begin(py, connection)?;
            }
            if !self.pass_reports_on(py)? {
                break;
            }
        }
        self.sweep(py)?;
        stacks::add_tasks(py, self.asyncio_loop.bind(py));
        loop_watch::start_when_wanted(&self.hub);
        let rest_ms = py.detach(|| self.hub.rest());
        self.inner.borrow(py).is_turning = false;
        match self.hub.leaving() {
            Leaving::Now => return self.stop(py),
            Leaving::WhenDone if self.running(py) == 0 => return self.stop(py),
            Leaving::WhenDone | Leaving::No => {}
        }
        match rest_ms {
            0 => self.turn_soon(py),
            rest_ms => self.turn_within(py, rest_ms),
        }
    }

    /// There will be no more turns: the loop ends soon, or is run only to let what is left come to its end.
    pub(in crate::python::asgi) fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.borrow(py).has_ended = true;
        self.stop.call0(py).map(drop)
    }

    /// Sees to it that there is a turn after so many milliseconds at the latest.
    fn turn_within(&self, py: Python<'_>, rest_ms: u64) -> PyResult<()> {
        let now_ms = sys::monotonic_ms();
        let mut inner = self.inner.borrow(py);
        let must_sweep = inner.suspended.count() > 0;
        let rest_ms = match must_sweep {
            true => rest_ms.min(inner.next_sweep_ms.saturating_sub(now_ms).max(1)),
            false => rest_ms,
        };
        let due_ms = now_ms + rest_ms;
        match &inner.timer {
            Some((_, at_ms)) if *at_ms > now_ms && *at_ms <= due_ms => return Ok(()),
            _ => {}
        }
        let overtaken = inner.timer.take();
        let Some(turn) = inner.turn.as_ref().map(|turn| turn.clone_ref(py)) else {
            return Ok(());
        };
        drop(inner);
        if let Some((timer, _)) = overtaken {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let seconds = rest_ms as f64 / 1_000.0;
        let timer = self.schedule(py, intern!(py, "call_later"), (seconds, turn))?;
        self.inner.borrow(py).timer = Some((timer.unbind(), due_ms));
        Ok(())
    }

    pub(super) fn turn_soon(&self, py: Python<'_>) -> PyResult<()> {
        let mut inner = self.inner.borrow(py);
        let Some(turn) = inner.turn.as_ref().map(|turn| turn.clone_ref(py)) else {
            return Ok(());
        };
        inner.is_turning = true;
        drop(inner);
        self.schedule(py, intern!(py, "call_soon"), (turn,))
            .map(drop)
    }

    /// Tells exchanges what happened to their connections. False: nothing did.
    fn pass_reports_on(&self, py: Python<'_>) -> PyResult<bool> {
        let mut reports = std::mem::take(&mut self.inner.borrow(py).reports);
        reports.clear();
        self.hub.take_reports(&mut reports);
        for (token, readiness) in &reports {
            let party = self.inner.borrow(py).suspended.find(py, *token);
            if let Some(party) = party {
                party.on_event(py, *readiness)?;
            }
        }
        let had_some = !reports.is_empty();
        self.inner.borrow(py).reports = reports;
        Ok(had_some)
    }

    fn sweep(&self, py: Python<'_>) -> PyResult<()> {
        let now_ns = sys::monotonic_ns();
        let mut inner = self.inner.borrow(py);
        if now_ns / 1_000_000 < inner.next_sweep_ms {
            return Ok(());
        }
        inner.next_sweep_ms = now_ns / 1_000_000 + self.sweep_every_ms();
        let suspended = inner.suspended.all(py);
        drop(inner);
        for party in suspended {
            party.sweep(py, now_ns)?;
        }
        Ok(())
    }

    fn sweep_every_ms(&self) -> u64 {
        let station = &self.hub.station;
        let slow_ns = station.slow.limit_ns().unwrap_or(0);
        [station.live.request_timeout_ns(), slow_ns]
            .into_iter()
            .filter(|limit_ns| *limit_ns > 0)
            .map(|limit_ns| (limit_ns / 8_000_000).clamp(SWEEP_MS_MIN, SWEEP_MS_MAX))
            .min()
            .unwrap_or(SWEEP_MS_MAX)
    }
}
