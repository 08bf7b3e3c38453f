//! The id of a request: taken from a header that a trusted peer sent, or made here.
//!
//! One that was made is a random number of the worker and the request's number in it, 32 hexadecimal digits together: unique
//! without a system call, and kept as a number until somebody wants to see it.

use std::{
    ops::Range,
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::connection::Connection;
use crate::{
    config::Log,
    http::{Refusal, date},
    sys,
};

/// Bytes of an id that a peer may send.
const TAKEN_BYTES_MAX: usize = 128;
/// Digits of one that was made.
pub const MADE_DIGITS: usize = 32;
/// The response header where no request header is looked at.
const RESPONSE_HEADER: &str = "X-Request-ID";

/// Of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// It stands here in the request's bytes.
    Taken(Range<usize>),
    Made(u64),
}

/// How this worker's requests come by their ids.
#[derive(Debug)]
pub struct RequestIds {
    /// Without it, nothing else here is looked at.
    is_on: AtomicBool,
    /// Responses say the id.
    is_said: AtomicBool,
    headers: RwLock<Headers>,
    worker: u64,
    last: AtomicU64,
}

/// Names of header fields.
#[derive(Debug, Default)]
struct Headers {
    /// Empty: none is looked at.
    request: Box<[u8]>,
    response: Box<[u8]>,
}

impl Default for RequestIds {
    /// Off.
    fn default() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            is_said: AtomicBool::new(false),
            headers: RwLock::default(),
            worker: sys::random_u64(),
            last: AtomicU64::new(0),
        }
    }
}

impl RequestIds {
    /// `are_shown`: the access log has them.
    pub(super) fn go_by(&self, log: &Log, are_shown: bool) {
        let request = log.request_id_header.as_str();
        let response = if request.is_empty() {
            RESPONSE_HEADER
        } else {
            request
        };
        *self.headers.write().unwrap_or_else(PoisonError::into_inner) = Headers {
            request: request.as_bytes().into(),
            response: response.as_bytes().into(),
        };
        let is_wanted = log.request_id || log.request_id_response || !log.slow.is_zero();
        self.is_said.store(log.request_id_response, Relaxed);
        self.is_on.store(is_wanted || are_shown, Relaxed);
    }

    fn headers(&self) -> RwLockReadGuard<'_, Headers> {
        self.headers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection's request its id, where ids are wanted.
    #[inline]
    pub(super) fn assign(&self, connection: &mut Connection) {
        if self.is_on.load(Relaxed) {
            connection.request_id = Some(self.find(connection).unwrap_or_else(|| self.make()));
        } else if connection.request_id.is_some() {
            connection.request_id = None; // of a request before, when they were on
        }
    }

    fn make(&self) -> RequestId {
        RequestId::Made(self.last.fetch_add(1, Relaxed) + 1)
    }

    /// The one that a trusted peer sent. Two are none.
    fn find(&self, connection: &Connection) -> Option<RequestId> {
        let wanted = &self.headers().request;
        if wanted.is_empty() || !connection.peer.trusted {
            return None;
        }
        let bytes = connection.request_bytes();
        let is_ours = |name: &[u8]| name.eq_ignore_ascii_case(wanted);
        let mut found = (connection.head().fields(bytes)).filter(|(name, _)| is_ours(name));
        let (_, value) = found.next().filter(|(_, value)| is_sane(value))?;
        if found.next().is_some() {
            return None;
        }
        let start = value.as_ptr() as usize - bytes.as_ptr() as usize;
        Some(RequestId::Taken(start..start + value.len()))
    }

    /// The id as text; empty where the request has none.
    pub fn text<'a>(
        &self,
        connection: &'a Connection,
        buffer: &'a mut [u8; MADE_DIGITS],
    ) -> &'a [u8] {
        match &connection.request_id {
            None => b"",
            Some(RequestId::Taken(place)) => {
                connection.request_bytes().get(place.clone()).unwrap_or(b"")
            }
            Some(RequestId::Made(number)) => {
                let (worker, request) = buffer.split_at_mut(MADE_DIGITS / 2);
                write_hex(self.worker, worker);
                write_hex(*number, request);
                buffer
            }
        }
    }

    /// Appends the response field that says the id, where responses do and the head has none of that name yet.
    pub fn write_field(&self, connection: &Connection, head: &mut Vec<u8>) {
        if !self.are_said() {
            return;
        }
        let name = &self.headers().response;
        if connection.request_id.is_some() && super::access::find_field(head, name).is_none() {
            let mut buffer = [0; MADE_DIGITS];
            let id = self.text(connection, &mut buffer);
            crate::http::response::write_field(head, name, id);
        }
    }

    /// Puts an answer of the server's own to the connection's request into its output. Returns the head, for the access log,
    /// and how many bytes of body follow it.
    pub fn refuse(&self, refusal: Refusal, connection: &mut Connection) -> (Vec<u8>, u64) {
        let mut answer = Vec::new();
        let date = date::format(sys::unix_seconds());
        let is_head = connection.is_head();
        let body_bytes = refusal.write_answer(&mut answer, &date, is_head, |head| {
            self.write_field(connection, head)
        });
        connection.output.push_bytes(&answer);
        answer.truncate(answer.len() - body_bytes);
        (answer, body_bytes as u64)
    }

    /// Whether responses say the ids.
    pub(super) fn are_said(&self) -> bool {
        self.is_said.load(Relaxed)
    }

    /// Appends `request_id=… GET /path`, the target cut to what a line needs.
    pub(super) fn describe(&self, connection: &Connection, out: &mut String) {
        const TARGET_BYTES_MAX: usize = 512;
        let (head, bytes) = (connection.head(), connection.request_bytes());
        let target = head.target(bytes);
        let shown = &target[..target.len().min(TARGET_BYTES_MAX)];
        out.push_str(&self.prefix(connection));
        out.push_str(&String::from_utf8_lossy(head.method(bytes)));
        out.push(' ');
        out.push_str(&String::from_utf8_lossy(shown));
    }

    /// The request for the log: the beginning of the line and what it asks for, both empty without a connection.
    pub fn name(&self, connection: Option<&Connection>) -> (String, String) {
        connection
            .map(|connection| (self.prefix(connection), connection.described()))
            .unwrap_or_default()
    }

    /// `request_id=… `, the beginning of a log line; empty where the request has none.
    pub fn prefix(&self, connection: &Connection) -> String {
        let mut buffer = [0; MADE_DIGITS];
        match self.text(connection, &mut buffer) {
            b"" => String::new(),
            id => format!("request_id={} ", String::from_utf8_lossy(id)),
        }
    }
}

/// Whether an id of somebody else's can stand in a log line, a header and a URL.
fn is_sane(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte);
    (1..=TAKEN_BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

fn write_hex(number: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, digit) in out.iter_mut().rev().enumerate() {
        *digit = DIGITS[(number >> (4 * index) & 15) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_can_stand_anywhere_is_taken() {
        for sane in ["a", "7f3c-1", "Root=1-67891233-abcdef", "a/b.c~d@e+f_g:h"] {
            assert!(is_sane(sane.as_bytes()), "{sane}");
        }
        for strange in ["", "a b", "a\"b", "é", "a\tb", "a,b", "a;b", "<a>", "a\x7f"] {
            assert!(!is_sane(strange.as_bytes()), "{strange}");
        }
        assert!(is_sane(&[b'a'; TAKEN_BYTES_MAX]));
        assert!(!is_sane(&[b'a'; TAKEN_BYTES_MAX + 1]));
    }

    #[test]
    fn a_number_is_written_in_full() {
        let mut out = [0; 16];
        write_hex(0xA0B1, &mut out);
        assert_eq!(&out, b"000000000000a0b1");
    }
}
