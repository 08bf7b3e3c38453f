//! How a request becomes a task of the app.
//!
//! Where Python can (3.12), a task starts at once and most apps are done before it is ever scheduled; for 3.11 see
//! `first_step`. The ones that are not are kept by the gateway: asyncio itself holds tasks by weak references only.

use std::sync::Arc;

use pyo3::{intern, prelude::*, types::PyDict};

use super::{
    super::{
        exchange::Exchange,
        frames::{ReceiveFrame, SendFrame},
        party::Party,
        request_objects::RequestObjects,
        run::Run,
        socket::Socket,
    },
    Gateway,
};
use crate::{
    http::Refusal,
    python::ffi,
    websocket::{self, Opening},
    worker::Connection,
};

impl Gateway {
    /// Starts a request's task.
    pub(super) fn begin(
        self: &Arc<Self>,
        py: Python<'_>,
        mut connection: Box<Connection>,
    ) -> PyResult<()> {
        let is_half_closed = connection.end_was_announced;
        let scope = self.inner.borrow(py).scopes.build(
            py,
            &mut connection,
            &self.hub.station.request_ids,
        )?;
        let scope = match scope {
            Ok(scope) => scope,
            Err(refusal) => {
                let exchange = Exchange::new(Arc::clone(self), connection);
                Exchange::refuse(&Bound::new(py, exchange)?, refusal);
                return Ok(());
            }
        };
        if websocket::handshake::is_asked_for(connection.head(), connection.request_bytes()) {
            return self.begin_socket(py, connection, scope);
        }
        let spare = self.inner.borrow(py).spare.take();
        let objects = match spare {
            Some(spare) => spare.renew(py, connection),
            None => RequestObjects::new(py, self, connection)?,
        };
        let exchange = objects.exchange.bind(py);
        let mut context = None;
        if let Some(hooks) = &self.hooks {
            let own = self.fresh_context(py)?;
            let met = hooks.meet_asgi(py, &scope, &own)?;
            let before = hooks.before(py, &met);
            exchange.get().state.borrow(py).met = Some(met);
            if let Err(error) = before {
                self.report(py, &error, "a hook before a request failed");
                Exchange::refuse(exchange, Refusal::APP_FAILED);
                return Ok(());
            }
            context = Some(own.call_method0(intern!(py, "copy"))?);
        }
        let messages = [&objects.receive, &objects.send];
        let is_suspended = self.start(objects.run.bind(py), scope, messages, context)?;
        if is_suspended && is_half_closed {
            Exchange::start_grace(exchange)?;
        }
        if !is_suspended && !objects.are_kept(py) {
            self.inner.borrow(py).spare = Some(objects);
        }
        Ok(())
    }

    /// Starts the task of a WebSocket; the app decides whether it becomes one.
    fn begin_socket(
        self: &Arc<Self>,
        py: Python<'_>,
        connection: Box<Connection>,
        scope: Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let deflate = self.socket_compression.as_ref();
        let (head, bytes) = (connection.head(), connection.request_bytes());
        let opening = match Opening::read(head, bytes, deflate) {
            Ok(opening) => opening,
            Err(rejection) => {
                Socket::reject(self, connection, &rejection);
                return Ok(());
            }
        };
        self.inner
            .borrow(py)
            .scopes
            .make_websocket(py, &scope, opening.subprotocols())?;
        let socket = Bound::new(py, Socket::new(Arc::clone(self), connection, opening))?;
        let messages = [
            ffi::builtin::<ReceiveFrame>(&socket)?,
            ffi::builtin::<SendFrame>(&socket)?,
        ];
        let run = Bound::new(py, Run::new(Party::Socket(socket.unbind())))?;
        self.start(&run, scope, messages.each_ref(), None).map(drop)
    }

    /// Has the app called in this context, or in a copy of it; without one, in a copy of the current one. True: it is suspended in its task.
    fn start<'py>(
        &self,
        run: &Bound<'py, Run>,
        scope: Bound<'py, PyDict>,
        [receive, send]: [&Py<PyAny>; 2],
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = run.py();
        let arguments = [
            scope.into_any().unbind(),
            receive.clone_ref(py),
            send.clone_ref(py),
        ];
        run.get().prepare(py, self.app.clone_ref(py), arguments);
        let task = self.start_run(run, context.as_ref())?;
        let is_suspended = task.is_some();
        if let Some(task) = task {
            self.keep(run.get().party(), task)?;
        }
        Ok(is_suspended)
    }

    /// Returns the task, unless all is over already.
    fn start_run<'py>(
        &self,
        run: &Bound<'py, Run>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, party) = (run.py(), run.get().party());
        let new_task = |task_type: &Bound<'py, PyAny>, options| match context {
            Some(context) => context.call_method(intern!(py, "run"), (task_type, run), options),
            None => task_type.call((run,), options),
        };
        let task = if self.inner.borrow(py).has_task_factory {
            let create_task = self.asyncio_loop.bind(py).getattr("create_task")?;
            new_task(&create_task, None)?
        } else if let (Some(steps), Party::Request(_)) = (&self.first_steps, party) {
            let task = steps.get().take(run, context)?;
            return Ok(task.map(|task| task.into_bound(py)));
        } else {
            new_task(self.task_type.bind(py), Some(self.task_options.bind(py)))?
        };
        let is_done = task.call_method0(intern!(py, "done"))?.is_truthy()?;
        Ok((!is_done || !party.is_over(py)).then_some(task))
    }

    /// Keeps what is not over, and has the kernel report what happens to its connection.
    fn keep(&self, party: &Party, task: Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let mut inner = self.inner.borrow(py);
        let place = inner.suspended.put(party.clone_ref(py));
        if let Some(token) = party.suspend(py, task.unbind(), place) {
            inner.suspended.set_token(token, place);
        }
        Ok(())
    }
}
