//! The Python objects of a request, beside its scope. They are used again for the next one where the app kept none of them:
//! making them costs a simple call 0.3 µs.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    exchange::Exchange,
    gateway::Gateway,
    party::Party,
    run::Run,
    send::{Receive, Send},
};
use crate::{python::ffi, worker::Connection};

pub(super) struct RequestObjects {
    pub(super) exchange: Py<Exchange>,
    pub(super) receive: Py<PyAny>,
    pub(super) send: Py<PyAny>,
    pub(super) run: Py<Run>,
}

impl RequestObjects {
    pub(super) fn new(
        py: Python<'_>,
        gateway: &Arc<Gateway>,
        connection: Box<Connection>,
    ) -> PyResult<Self> {
        let exchange = Bound::new(py, Exchange::new(Arc::clone(gateway), connection))?;
        let party = Party::Request(exchange.clone().unbind());
        Ok(Self {
            run: Bound::new(py, Run::new(party))?.unbind(),
            receive: ffi::builtin::<Receive>(&exchange)?,
            send: ffi::builtin::<Send>(&exchange)?,
            exchange: exchange.unbind(),
        })
    }

    /// For another request.
    pub(super) fn renew(self, py: Python<'_>, connection: Box<Connection>) -> Self {
        self.exchange.get().state.borrow(py).renew(connection);
        self
    }

    /// Whether the app, or what it started, can still reach one of them.
    pub(super) fn are_kept(&self, py: Python<'_>) -> bool {
        // Each has a reference to the exchange.
        ffi::reference_count(py, &self.receive) > 1
            || ffi::reference_count(py, &self.send) > 1
            || ffi::reference_count(py, &self.run) > 1
            || ffi::reference_count(py, &self.exchange) > 4
    }
}
