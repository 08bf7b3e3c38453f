//! What a task of the app is about: a request and its response, or a WebSocket.

use pyo3::prelude::*;

use super::{awaitable::Awaited, exchange::Exchange, socket::Socket};
use crate::sys::Readiness;

pub(super) enum Party {
    Request(Py<Exchange>),
    Socket(Py<Socket>),
}

impl Party {
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Request(exchange) => Self::Request(exchange.clone_ref(py)),
            Self::Socket(socket) => Self::Socket(socket.clone_ref(py)),
        }
    }

    /// What is awaited, if it is there.
    pub(super) fn poll(&self, py: Python<'_>, awaited: Awaited) -> PyResult<Option<Py<PyAny>>> {
        match (self, awaited) {
            (Self::Request(exchange), Awaited::Message) => {
                Exchange::poll_receive(exchange.bind(py))
            }
            (Self::Request(exchange), Awaited::Room) => {
                Ok(Exchange::poll_room(exchange.bind(py))?.then(|| py.None()))
            }
            (Self::Socket(socket), Awaited::Message) => Socket::poll_receive(socket.bind(py)),
            (Self::Socket(socket), Awaited::Room) => {
                Ok(Socket::poll_room(socket.bind(py))?.then(|| py.None()))
            }
        }
    }

    /// A future that is done when it is worth asking again.
    pub(super) fn new_waiter<'py>(
        &self,
        py: Python<'py>,
        awaited: Awaited,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Request(exchange) => Exchange::new_waiter(exchange.bind(py), awaited),
            Self::Socket(socket) => Socket::new_waiter(socket.bind(py), awaited),
        }
    }

    pub(super) fn on_event(&self, py: Python<'_>, readiness: Readiness) -> PyResult<()> {
        match self {
            Self::Request(exchange) => Exchange::on_event(exchange.bind(py), readiness),
            Self::Socket(socket) => Socket::on_event(socket.bind(py), readiness),
        }
    }

    /// Looks at the deadlines.
    pub(super) fn sweep(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        match self {
            Self::Request(exchange) => Exchange::sweep(exchange.bind(py), now_ns),
            Self::Socket(socket) => Socket::sweep(socket.bind(py), now_ns),
        }
    }

    /// The app has returned, or failed.
    pub(super) fn app_ended(&self, py: Python<'_>, result: &PyResult<()>) {
        match self {
            Self::Request(exchange) => Exchange::app_ended(exchange.bind(py), result),
            Self::Socket(socket) => Socket::app_ended(socket.bind(py), result),
        }
    }

    /// Whether neither the app nor the client has anything more to do.
    pub(super) fn is_over(&self, py: Python<'_>) -> bool {
        match self {
            // Its app has returned, and a response that it did not complete was ended then.
            Self::Request(_) => true,
            Self::Socket(socket) => socket.get().state.borrow(py).connection.is_none(),
        }
    }

    /// The app is suspended in this task; `place` is where the gateway keeps the party.
    pub(super) fn suspend(&self, py: Python<'_>, task: Py<PyAny>, place: usize) -> Option<u64> {
        match self {
            Self::Request(exchange) => {
                let mut state = exchange.get().state.borrow(py);
                state.task = Some(task);
                state.place = Some(place);
                let connection = state.connection.as_ref()?;
                exchange.get().gateway.hub.reactor().register(connection);
                Some(connection.token)
            }
            Self::Socket(socket) => {
                let mut state = socket.get().state.borrow(py);
                state.task = Some(task);
                state.place = Some(place);
                let connection = state.connection.as_ref()?;
                socket.get().gateway.hub.reactor().register(connection);
                Some(connection.token)
            }
        }
    }

    /// In which the app is suspended.
    pub(super) fn task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match self {
            Self::Request(exchange) => {
                let state = exchange.get().state.borrow(py);
                state.task.as_ref().map(|task| task.clone_ref(py))
            }
            Self::Socket(socket) => {
                let state = socket.get().state.borrow(py);
                state.task.as_ref().map(|task| task.clone_ref(py))
            }
        }
    }
}
