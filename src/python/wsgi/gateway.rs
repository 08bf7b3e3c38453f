//! One desk's way to call the app: environ in, iterable out, `close` always.

use std::sync::Arc;

use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError},
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use super::{
    call::{Call, State},
    desk::Desk,
    early_hints::EarlyHints,
    environ::{EnvironBuilder, Surroundings},
    errors::Errors,
    file_wrapper::FileWrapper,
    loan::{self, Loan},
    start_response::{StartResponse, Write},
};
use crate::{
    config::{Config, LogLevel},
    http::Refusal,
    python::{
        RequestTimeout, copy, exception, ffi,
        hooks::{Answer, RequestHooks},
    },
    wire::ListenerAddress,
    worker::{Answered, Connection, log_answered},
};

/// What became of a request.
pub(in crate::python) struct Served {
    pub(in crate::python) connection: Box<Connection>,
    pub(in crate::python) then_close: bool,
    pub(in crate::python) status: u16,
}

/// The callables of a call; used again while the app keeps none of them.
struct Callables {
    call: Py<Call>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
    /// Also in the templates of the environ.
    early_hints: Py<PyAny>,
}

pub(in crate::python) struct Gateway {
    app: Py<PyAny>,
    hooks: Option<Arc<RequestHooks>>,
    desk: Arc<Desk>,
    environ: EnvironBuilder,
    callables: Callables,
    file_wrapper: Py<PyAny>,
    /// What of the environ the access log's format shows.
    logged_variables: Vec<String>,
    /// Of the access log that they were asked of.
    logged_edition: u64,
}

impl Gateway {
    pub(in crate::python) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        hooks: Option<Arc<RequestHooks>>,
        desk: Desk,
        config: &Config,
        listeners: &[ListenerAddress],
    ) -> PyResult<Self> {
        let desk = Arc::new(desk);
        let callables = Callables::new(py, &desk, hooks.is_none())?;
        let file_wrapper = py.get_type::<FileWrapper>().into_any();
        let surroundings = Surroundings {
            errors: Bound::new(py, Errors)?.into_any(),
            file_wrapper: file_wrapper.clone(),
            early_hints: callables.early_hints.bind(py).clone(),
            listeners,
            config,
        };
        Ok(Self {
            environ: EnvironBuilder::new(py, &surroundings)?,
            callables,
            logged_edition: desk.station().access_log.edition(),
            logged_variables: desk.station().access_log.environ(),
            app,
            hooks,
            desk,
            file_wrapper: file_wrapper.unbind(),
        })
    }

    /// Serves one request to its end.
    pub(in crate::python) fn serve(
        &mut self,
        py: Python<'_>,
        mut connection: Box<Connection>,
    ) -> PyResult<Served> {
        if self.callables.are_kept(py, self.environ.template_count()) {
            self.callables = Callables::new(py, &self.desk, self.hooks.is_none())?;
            self.environ
                .set_early_hints(py, &self.callables.early_hints)?;
        }
        self.follow_access_log();
        let environ =
            match self
                .environ
                .build(py, &mut connection, &self.desk.station().request_ids)
            {
                Ok(Ok(environ)) => environ,
                Ok(Err(refusal)) => return Ok(self.refuse(connection, refusal)),
                Err(error) => {
                    self.report(py, &connection, &error, "cannot make the environ of");
                    return Ok(self.refuse(connection, Refusal::APP_FAILED));
                }
            };
        let call = self.callables.call.bind(py).clone();
        let loan = match self.environ.has_upgrade() {
            true => self.lend(&call, &environ, &connection),
            false => None,
        };
        let write = self.callables.write.clone_ref(py);
        call.get().state(py).begin(connection, loan, write);
        let Some(hooks) = self.hooks.clone() else {
            let result = self.run(py, &call, environ);
            return Ok(self.finish(py, &call, result));
        };
        let met = hooks.meet_wsgi(py, &environ);
        let result = match &met {
            Ok(met) => hooks
                .before(py, met)
                .and_then(|()| self.run(py, &call, environ)),
            Err(error) => Err(error.clone_ref(py)),
        };
        let served = self.finish(py, &call, result);
        if let Ok(met) = met {
            hooks.after(py, &met, || answer(&call, served.status));
        }
        Ok(served)
    }

    /// Shows the client's socket in the environ, if the request asks for a WebSocket.
    #[cold]
    fn lend(
        &self,
        call: &Bound<'_, Call>,
        environ: &Bound<'_, PyDict>,
        connection: &Connection,
    ) -> Option<Loan> {
        let py = call.py();
        let lent = Loan::begin(call, connection).and_then(|loan| {
            if let Some(loan) = &loan {
                environ.set_item(intern!(py, "gunicorn.socket"), loan.socket(py))?;
            }
            Ok(loan)
        });
        lent.unwrap_or_else(|error| {
            self.report(py, connection, &error, "cannot lend the app the socket of");
            None
        })
    }

    /// The format of the access log may have changed.
    fn follow_access_log(&mut self) {
        let access_log = &self.desk.station().access_log;
        let edition = access_log.edition();
        if edition != self.logged_edition {
            self.logged_edition = edition;
            self.logged_variables = access_log.environ();
        }
    }

    /// Calls the app and sends what it returns.
    fn run(
        &self,
        py: Python<'_>,
        call: &Bound<'_, Call>,
        environ: Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let start_response = self.callables.start_response.bind(py);
        let returned = ffi::call(self.app.bind(py), [environ.as_any(), start_response]);
        copy::end_if_copy(py, returned.as_ref().err());
        if !self.logged_variables.is_empty() {
            let logged = logged_environ(&environ, &self.logged_variables);
            call.get().state(py).logged_environ = logged;
        }
        let iterable = returned?;
        // The environ goes before the response does: what the app hung on it is released while the client is served.
        drop(environ);
        if let Some(body) = ffi::only_bytes(&iterable) {
            let mut state = call.get().state(py);
            if state.started && !state.head_is_sent() {
                if state.may_answer() {
                    let sent = state.send_whole(&body);
                    sent.unwrap_or_else(|_| state.give_up());
                }
                return Ok(());
            }
        }
        let sent = self.send_iterable(py, call, &iterable);
        let closed = close(&iterable);
        sent.and(closed)
    }

    fn send_iterable(
        &self,
        py: Python<'_>,
        call: &Bound<'_, Call>,
        iterable: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if call.get().state(py).is_taken() {
            return Ok(());
        }
        if iterable.get_type().is(self.file_wrapper.bind(py))
            && let Ok(wrapper) = iterable.cast_exact::<FileWrapper>()
            && self.send_file(py, call, wrapper.get())?
        {
            return Ok(());
        }
        announce_length(call, iterable);
        for part in iterable.try_iter()? {
            let part = part?;
            copy::end_if_copy(py, None);
            let Ok(bytes) = part.cast::<PyBytes>() else {
                let kind = part.get_type();
                return Err(PyTypeError::new_err(format!(
                    "a WSGI app must return an iterable of bytes, not of {kind}"
                )));
            };
            if bytes.as_bytes().is_empty() {
                continue;
            }
            let mut state = call.get().state(py);
            check_started(&state)?;
            if !state.may_answer() || state.send_part(py, bytes.as_bytes()).is_err() {
                // The app is closed, not asked for the rest.
                state.give_up();
                return Ok(());
            }
            if let Some(token) = state.queued_at() {
                drop(state);
                self.desk.wait_for_room(py, token)?;
            }
        }
        let mut state = call.get().state(py);
        check_started(&state)?;
        if state.may_answer() {
            let sent = state.end_body(py);
            sent.unwrap_or_else(|_| state.give_up());
        }
        Ok(())
    }

    /// Hands a regular file to the reactor, which sends it without this thread. False: not a regular file.
    fn send_file(
        &self,
        py: Python<'_>,
        call: &Bound<'_, Call>,
        wrapper: &FileWrapper,
    ) -> PyResult<bool> {
        let Some((file, at, end)) = wrapper.regular_file(py) else {
            return Ok(false);
        };
        let mut state = call.get().state(py);
        check_started(&state)?;
        if state.head_is_sent() {
            return Ok(false);
        }
        if state.may_answer() {
            state.send_file(file, at, end);
        }
        Ok(true)
    }

    /// The call is over: an exception is answered and logged, a response that was cut short closes its connection.
    fn finish(&mut self, py: Python<'_>, call: &Bound<'_, Call>, result: PyResult<()>) -> Served {
        copy::end_if_copy(py, result.as_ref().err());
        let mut state = call.get().state(py);
        let connection = state.connection.take();
        let loan = state.loan.take();
        state.write = None;
        drop(state);
        let Some(mut connection) = connection else {
            unreachable!("only `finish` takes the connection")
        };
        if let Some(loan) = loan {
            loan.end(py, connection.is_taken);
        }
        if let Err(error) = &result {
            self.fail(py, call, &mut connection, error);
        }
        let mut state = call.get().state(py);
        if connection.is_taken {
            state.note_switched();
        }
        if state.is_timed_out {
            // Whatever the app made of it since: this is what the client got.
            state.forget_response();
            state.status = Refusal::APP_TIMEOUT.status;
            state.body_bytes = Refusal::APP_TIMEOUT.body_bytes(connection.is_head()) as u64;
        }
        let missing = if result.is_ok() {
            state.missing_bytes()
        } else {
            0
        };
        state.must_close |= missing > 0;
        let excess = state.sending.excess();
        let (status, bytes, then_close) = (state.status, state.body_bytes, state.must_close);
        let answered = Answered {
            status,
            bytes,
            head: &state.head.lines,
            environ: &state.logged_environ,
        };
        log_answered(self.desk.station(), &connection, &answered);
        drop(state);
        if excess > 0 || (missing > 0 && then_close) {
            let id = self.desk.station().request_ids.prefix(&connection);
            let request = connection.described();
            py.detach(|| match excess {
                0 => crate::error!(
                    "{id}{request} was answered with {missing} bytes less than its Content-Length said"
                ),
                _ => crate::warning!(
                    "{id}{request} was answered with {excess} bytes more than its Content-Length said"
                ),
            });
        }
        Served {
            connection,
            then_close,
            status,
        }
    }

    /// The app raised: the client gets a 500 if it got nothing yet, and the connection ends.
    fn fail(
        &self,
        py: Python<'_>,
        call: &Bound<'_, Call>,
        connection: &mut Connection,
        error: &PyErr,
    ) {
        if connection.is_taken && loan::is_end(py, error) {
            return;
        }
        let what = match error.is_instance_of::<RequestTimeout>(py) {
            true => "interrupted after timeouts.request:",
            false => "the app failed on",
        };
        self.report(py, connection, error, what);
        let mut state = call.get().state(py);
        state.must_close = true;
        if state.head_is_sent() || connection.is_taken {
            return;
        }
        state.forget_response();
        if state.may_answer() {
            let ids = &self.desk.station().request_ids;
            state.status = Refusal::APP_FAILED.status;
            (state.head.lines, state.body_bytes) = ids.refuse(Refusal::APP_FAILED, connection);
        }
    }

    /// Writes an exception to the error log.
    fn report(&self, py: Python<'_>, connection: &Connection, error: &PyErr, what: &str) {
        let id = self.desk.station().request_ids.prefix(connection);
        let headline = format!("{id}{what} {}", connection.described());
        exception::log(py, LogLevel::Error, &headline, error);
    }

    /// Answers without the app.
    fn refuse(&self, mut connection: Box<Connection>, refusal: Refusal) -> Served {
        let (status, head, bytes) = match self.desk.may_answer() {
            true => {
                let ids = &self.desk.station().request_ids;
                let (head, bytes) = ids.refuse(refusal, &mut connection);
                (refusal.status, head, bytes)
            }
            false => {
                let bytes = Refusal::APP_TIMEOUT.body_bytes(connection.is_head());
                (Refusal::APP_TIMEOUT.status, Vec::new(), bytes as u64)
            }
        };
        let answered = Answered {
            status,
            bytes,
            head: &head,
            environ: &[],
        };
        log_answered(self.desk.station(), &connection, &answered);
        Served {
            connection,
            then_close: true,
            status,
        }
    }
}

impl Callables {
    /// `ends_when_sent`: no hook is called after the response.
    fn new(py: Python<'_>, desk: &Arc<Desk>, ends_when_sent: bool) -> PyResult<Self> {
        let state = State::new(Arc::clone(desk), ends_when_sent);
        let call = Bound::new(py, Call::new(state))?;
        Ok(Self {
            start_response: ffi::builtin::<StartResponse>(&call)?,
            write: ffi::builtin::<Write>(&call)?,
            early_hints: ffi::builtin::<EarlyHints>(&call)?,
            call: call.unbind(),
        })
    }

    /// Whether the app kept a callable of the last call, or its environ, by which it could reach the next.
    fn are_kept(&self, py: Python<'_>, template_count: usize) -> bool {
        ffi::is_shared(py, &self.start_response)
            || ffi::is_shared(py, &self.write)
            || ffi::reference_count(py, &self.early_hints) > 1 + template_count as isize
    }
}

fn answer(call: &Bound<'_, Call>, status: u16) -> Answer {
    let state = call.get().state(call.py());
    Answer {
        status,
        head: state.head.lines.clone(),
        body_bytes: state.body_bytes,
    }
}

fn check_started(state: &State) -> PyResult<()> {
    match state.started || state.is_taken() {
        true => Ok(()),
        false => Err(PyRuntimeError::new_err(
            "the app returned a body without calling start_response",
        )),
    }
}

fn logged_environ(environ: &Bound<'_, PyDict>, names: &[String]) -> Vec<(String, Vec<u8>)> {
    let variable = |name: &String| {
        let as_written = environ.get_item(name).ok()?;
        let value = as_written.or_else(|| without_case(environ, name))?;
        Some((name.clone(), value.str().ok()?.to_string().into_bytes()))
    };
    names.iter().filter_map(variable).collect()
}

/// As Gunicorn's atoms name variables: `%({remote_addr}e)s`.
fn without_case<'py>(environ: &Bound<'py, PyDict>, name: &str) -> Option<Bound<'py, PyAny>> {
    let is_meant = |key: &Bound<'_, PyAny>| {
        let key = key.cast::<PyString>().ok();
        key.is_some_and(|key| key.to_cow().is_ok_and(|key| key.eq_ignore_ascii_case(name)))
    };
    let mut variables = environ.iter();
    variables.find_map(|(key, value)| is_meant(&key).then_some(value))
}

/// The parts of a list are all there, so their length is known without the app's help.
fn announce_length(call: &Bound<'_, Call>, iterable: &Bound<'_, PyAny>) {
    let parts: Option<u64> = if let Ok(list) = iterable.cast_exact::<PyList>() {
        list.iter().map(|part| length_of(&part)).sum()
    } else if let Ok(tuple) = iterable.cast_exact::<PyTuple>() {
        tuple.iter().map(|part| length_of(&part)).sum()
    } else {
        None
    };
    let mut state = call.get().state(call.py());
    if !state.head_is_sent() {
        state.head.counted_length = parts;
    }
}

fn length_of(part: &Bound<'_, PyAny>) -> Option<u64> {
    part.cast::<PyBytes>()
        .ok()
        .map(|bytes| bytes.as_bytes().len() as u64)
}

/// PEP 3333: `close` is called whether or not the response was completed.
fn close(iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = iterable.py();
    match iterable.getattr_opt(intern!(py, "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}
