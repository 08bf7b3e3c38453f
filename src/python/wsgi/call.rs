//! One call of the app: what `start_response` said, how the response is framed, and what of it was sent.
//!
//! The object outlives the call when the app keeps `start_response`; then the next call gets a new one. It holds the
//! connection while the app runs, so that `write` and the interim responses have something to write to, and is never
//! borrowed while Python code runs.

use std::{
    cell::RefMut,
    fs::File,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyBytes};

use super::{
    desk::Desk,
    loan::Loan,
    send::{Part, Sending},
};
use crate::{
    http::{AppHead, RequestTraits, ResponseFraming, ResponseShape, Version, response},
    python::{
        date::CachedDate,
        ffi::{GilCell, SharedBytes},
    },
    sys::net,
    worker::Connection,
};

/// How long another thread may take to write a part of the response to a file, and how often that is looked at.
const WRITE_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Bound to `start_response`, `write` and `wsgi.early_hints`.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Call(GilCell<State>);

impl Call {
    pub(super) fn new(state: State) -> Self {
        Self(GilCell::new(state))
    }

    /// What is known so far, not to be kept while Python code runs. Another thread of the app's may be in `write`, which lets go of the
    /// interpreter while a file takes what the client does not: that is waited for.
    #[inline]
    pub(super) fn state<'a>(&'a self, py: Python<'a>) -> RefMut<'a, State> {
        match self.0.try_borrow(py) {
            Some(state) => state,
            None => self.wait_for_state(py),
        }
    }

    #[cold]
    fn wait_for_state<'a>(&'a self, py: Python<'a>) -> RefMut<'a, State> {
        let begun = Instant::now();
        while begun.elapsed() < WRITE_MAX {
            py.detach(|| std::thread::sleep(LOOK_EVERY));
            if let Some(state) = self.0.try_borrow(py) {
                return state;
            }
        }
        // Who borrowed it is this thread, which is a fault of ours, or the disk hangs.
        self.0.borrow(py)
    }
}

/// What is known of the response so far.
pub(super) struct State {
    pub(super) desk: Arc<Desk>,
    /// No Python code runs between the send of a whole response and the end of the call.
    ends_when_sent: bool,
    /// `None` outside a call.
    pub(super) connection: Option<Box<Connection>>,
    /// The app may take the connection's socket.
    pub(super) loan: Option<Loan>,
    /// What `start_response` returns; `None` outside a call.
    pub(super) write: Option<Py<PyAny>>,
    /// `start_response` was called.
    pub(super) started: bool,
    /// Complete once `shape` is set.
    pub(super) head: AppHead,
    pub(super) status: u16,
    /// Decided when the first byte is due; from then on the head cannot change.
    pub(super) shape: Option<ResponseShape>,
    /// Bytes of body sent, without framing.
    pub(super) body_bytes: u64,
    /// All of the response was given: nothing can come after it.
    pub(super) is_complete: bool,
    pub(super) sending: Sending,
    /// Variables of the environ for the access log.
    pub(super) logged_environ: Vec<(String, Vec<u8>)>,
    /// The connection cannot be used after this.
    pub(super) must_close: bool,
    /// The rest of the response was given up, through no fault of the app's.
    is_given_up: bool,
    /// The request was answered with 504 in the app's place.
    pub(super) is_timed_out: bool,
    date: CachedDate,
}

impl State {
    pub(super) fn new(desk: Arc<Desk>, ends_when_sent: bool) -> Self {
        Self {
            desk,
            ends_when_sent,
            connection: None,
            loan: None,
            write: None,
            started: false,
            head: AppHead::with_capacity(1024),
            status: 0,
            shape: None,
            body_bytes: 0,
            is_complete: false,
            sending: Sending::default(),
            logged_environ: Vec::new(),
            must_close: false,
            is_given_up: false,
            is_timed_out: false,
            date: CachedDate::default(),
        }
    }

    /// Makes ready for the next request.
    pub(super) fn begin(
        &mut self,
        connection: Box<Connection>,
        loan: Option<Loan>,
        write: Py<PyAny>,
    ) {
        self.connection = Some(connection);
        self.loan = loan;
        self.write = Some(write);
        self.forget_response();
        self.shape = None;
        self.body_bytes = 0;
        self.is_complete = false;
        self.sending = Sending::default();
        self.logged_environ.clear();
        self.must_close = false;
        self.is_given_up = false;
        self.is_timed_out = false;
    }

    /// The client is gone, or what it does not read yet cannot be kept: nothing more is sent.
    pub(super) fn give_up(&mut self) {
        self.must_close = true;
        self.is_given_up = true;
    }

    /// Forgets what `start_response` said, as a second call with `exc_info` asks for.
    pub(super) fn forget_response(&mut self) {
        self.started = false;
        self.head.clear();
        self.status = 0;
    }

    /// Whether the response is still the app's to give: asked before its first byte goes out.
    pub(super) fn may_answer(&mut self) -> bool {
        if self.is_taken() {
            return false;
        }
        let may = self.head_is_sent() || self.desk.may_answer();
        if !may {
            self.note_timed_out();
        }
        may
    }

    /// The request was answered in the app's place.
    pub(super) fn note_timed_out(&mut self) {
        self.is_timed_out = true;
        self.must_close = true;
    }

    pub(super) fn head_is_sent(&self) -> bool {
        self.shape.is_some()
    }

    /// Completes the head. `body_length` is that of the whole body, if it is known.
    pub(super) fn complete_head(&mut self, body_length: Option<u64>) -> ResponseShape {
        let may_persist = self.desk.station().may_persist();
        let (version, is_head, persistent) = match &self.connection {
            Some(connection) => {
                let (head, is_head) = (connection.head(), connection.is_head());
                (head.version, is_head, head.persistent && may_persist)
            }
            None => (Version::Http11, false, false),
        };
        let request = RequestTraits {
            version,
            is_head,
            persistent,
        };
        if let Some(connection) = &self.connection {
            let ids = &self.desk.station().request_ids;
            ids.write_field(connection, &mut self.head.lines);
        }
        self.head.counted_length = self.head.counted_length.or(body_length);
        let date = &mut self.date;
        let shape = self.head.complete(request, self.status, || date.now());
        self.must_close |= !shape.persistent;
        self.shape = Some(shape);
        shape
    }

    /// Sends a response whose body is known as a whole.
    pub(super) fn send_whole(&mut self, body: &Bound<'_, PyBytes>) -> io::Result<()> {
        let bytes = body.as_bytes();
        let shape = self.complete_head(Some(bytes.len() as u64));
        if shape.send_body && shape.framing != ResponseFraming::Length(bytes.len() as u64) {
            // The app said another length than it gives: as for a stream.
            self.sending.head_waits = true;
            return self.send_part(body.py(), bytes);
        }
        let sent_bytes = if shape.send_body { bytes } else { &[] };
        self.body_bytes = sent_bytes.len() as u64;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if let Some(now_ns) = self.desk.hold_back(&[&self.head.lines, sent_bytes]) {
            connection.note_answered(now_ns);
            return Ok(());
        }
        let next = match self.must_close && self.ends_when_sent {
            true => net::Next::Close,
            false => net::Next::Unknown,
        };
        self.sending
            .send_final(connection, &mut self.head.lines, sent_bytes, next, || {
                Box::new(SharedBytes::new(body))
            })
    }

    /// Sends a part of a body whose end is not known yet: the head with the first one, framing around each. Never waits
    /// while the interpreter is held. An error: see [`State::give_up`].
    pub(super) fn send_part(&mut self, py: Python<'_>, bytes: &[u8]) -> io::Result<()> {
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                let shape = self.complete_head(None);
                self.sending.head_waits = true;
                shape
            }
        };
        let allowed = match shape.framing {
            _ if !shape.send_body => 0,
            ResponseFraming::Length(length) => usize::try_from(length - self.body_bytes)
                .unwrap_or(usize::MAX)
                .min(bytes.len()),
            ResponseFraming::Nothing | ResponseFraming::Chunked | ResponseFraming::UntilClose => {
                bytes.len()
            }
        };
        if allowed < bytes.len() && shape.send_body {
            self.sending.note_excess(bytes.len() - allowed);
        }
        self.body_bytes += allowed as u64;
        let Some(connection) = &mut self.connection else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let part = Part {
            bytes: &bytes[..allowed],
            is_chunk: shape.framing == ResponseFraming::Chunked && shape.send_body,
            is_last: shape.framing == ResponseFraming::Length(self.body_bytes),
        };
        self.sending
            .send(py, &self.desk, connection, &self.head.lines, part)
    }

    /// The connection's token, when a part of its response waits at the reactor.
    pub(super) fn queued_at(&self) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        self.sending.is_queued().then_some(connection.token)
    }

    /// Sends a file from `at` to `end`, or as much of it as the app's Content-Length says.
    pub(super) fn send_file(&mut self, file: File, at: u64, end: u64) {
        let shape = self.complete_head(Some(end - at));
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.is_complete = true;
        connection.output.push_bytes(&self.head.lines);
        let count = match shape.framing {
            _ if !shape.send_body => 0,
            ResponseFraming::Length(length) => length.min(end - at),
            ResponseFraming::Nothing | ResponseFraming::Chunked | ResponseFraming::UntilClose => {
                end - at
            }
        };
        self.body_bytes = count;
        if count > 0 {
            connection.output.push_file(file, at, at + count);
        }
    }

    /// Sends an interim response, if the socket takes it, and if the request was not answered in the app's place.
    pub(super) fn send_interim(&mut self, interim: &[u8]) {
        if !self.may_answer() {
            return;
        }
        if let Some(connection) = &mut self.connection
            && let Err(error) = self.sending.send_interim(connection, interim)
        {
            self.must_close |= error.kind() != io::ErrorKind::WouldBlock;
        }
        self.desk.leave_open();
    }

    /// The body is complete: the last chunk, and a check that the length was kept.
    pub(super) fn end_body(&mut self, py: Python<'_>) -> io::Result<()> {
        self.is_complete = true;
        if self.shape.is_none() {
            self.complete_head(Some(0));
            self.sending.head_waits = true;
        }
        let Some(shape) = self.shape else {
            return Ok(());
        };
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let last = match shape.framing {
            ResponseFraming::Chunked if shape.send_body => response::LAST_CHUNK,
            _ => &[],
        };
        self.sending
            .send_end(py, &self.desk, connection, &self.head.lines, last)
    }

    /// How many bytes the app gave less than its Content-Length said.
    pub(super) fn missing_bytes(&self) -> u64 {
        match self.shape {
            _ if self.is_given_up => 0,
            Some(ResponseShape {
                framing: ResponseFraming::Length(length),
                send_body: true,
                ..
            }) => length.saturating_sub(self.body_bytes),
            _ => 0,
        }
    }
}
