//! How long a WebSocket waits for its client: the answer to a ping and to a goodbye, progress of what is sent. What the client
//! did in time counts, although an app that blocked the loop kept us from looking.

use std::time::Instant;

use pyo3::prelude::*;

use super::{Phase, Socket, State};
use crate::{
    python::asgi::{
        awaitable::Awaited,
        client::{has_room, is_stuck},
    },
    sys::Readiness,
    websocket::{Event, close},
};

impl Socket {
    /// Keeps the deadlines: pings, the answer to a goodbye, a client that does not read; and says goodbye when the worker
    /// leaves.
    pub(in crate::python::asgi) fn sweep(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let Some(connection) = &mut state.connection else {
            return Ok(());
        };
        gateway.hub.count_traffic(connection);
        let is_past = gateway.is_past_request_timeout(connection.request_began_ns, now_ns);
        let is_undecided = matches!(state.phase, Phase::Connecting(_));
        let must_look = state.is_late(now_ns) || gateway.must_drop_sockets(now_ns);
        drop(guard);
        if is_undecided && is_past {
            return Self::time_out(this);
        }
        if must_look {
            Self::catch_up(this)?;
            Self::expire(this, now_ns)?;
        }
        match gateway.must_close_sockets(now_ns) {
            true => Self::say_goodbye(this),
            false => Ok(()),
        }
    }

    /// Asks the kernel what it has not told yet: the app may have blocked the loop, and a turn takes so many events only.
    fn catch_up(this: &Bound<'_, Self>) -> PyResult<()> {
        let state = this.get().state.borrow(this.py());
        let Some(connection) = &state.connection else {
            return Ok(());
        };
        let readiness = Readiness::now(connection.socket());
        drop(state);
        Self::on_event(this, readiness)?;
        let mut guard = this.get().state.borrow(this.py());
        let state = &mut *guard;
        let has_waiting_output = !has_room(state.connection.as_deref());
        if let Phase::Open(open) = &mut state.phase
            && (readiness.can_read() || has_waiting_output)
        {
            // What the client sent waits for the app, or our ping behind what it has not read yet, which `timeouts.write`
            // bounds: it is not its turn to answer.
            open.heard(Instant::now());
        }
        Ok(())
    }

    /// Ends what the client took too long for, and pings it when it was silent.
    fn expire(this: &Bound<'_, Self>, now_ns: u64) -> PyResult<()> {
        let (py, gateway) = (this.py(), &this.get().gateway);
        let mut out = Vec::new();
        let mut guard = this.get().state.borrow(py);
        let state = &mut *guard;
        let is_stuck = state.is_stuck(now_ns);
        let Phase::Open(open) = &mut state.phase else {
            return Ok(());
        };
        // It had its time to say goodbye, and what waits for it is a worker that has to leave.
        let is_given_up = !open.is_open() && gateway.must_drop_sockets(now_ns);
        if let Some(Event::Failed(failure)) = open.tick(Instant::now(), &mut out) {
            state.end.note(failure.code, failure.detail);
        }
        let is_over = open.is_over();
        drop(guard);
        if is_stuck || is_given_up {
            return Self::lose_client(this);
        }
        Self::transmit(this, &out);
        match is_over {
            true => Self::finish(this),
            false => Ok(()),
        }
    }

    /// The worker leaves: the client is told once, and the app at once.
    fn say_goodbye(this: &Bound<'_, Self>) -> PyResult<()> {
        let (code, reason) = (close::SERVICE_RESTART, "the server restarts");
        if Self::close(this, code, reason).is_err() {
            return Ok(());
        }
        let mut state = this.get().state.borrow(this.py());
        state.end.note(code, reason);
        let receivers = state.waiters.take(Awaited::Message);
        drop(state);
        receivers.wake(this.py())
    }
}

impl State {
    /// Whether something was to happen by now: a ping, an answer to one or to a goodbye, progress of what is sent.
    fn is_late(&self, now_ns: u64) -> bool {
        let Phase::Open(open) = &self.phase else {
            return false;
        };
        self.is_stuck(now_ns) || open.deadline().is_some_and(|at| at <= Instant::now())
    }

    /// Whether the client has not read for too long.
    fn is_stuck(&self, now_ns: u64) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| is_stuck(connection, now_ns / 1_000_000))
    }
}
