//! The answer to a request that we do not take.
//!
//! A refusal always ends the connection: it says that the client and we may no longer agree on where messages begin.

use super::status;

/// Why a request is not taken: the status for the client and a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{status} {}: {detail}", self.reason())]
pub struct Refusal {
    pub status: u16,
    /// Lowercase, no full stop. It never repeats what the client sent, so it is safe in the answer and in the log.
    pub detail: &'static str,
}

impl Refusal {
    /// The head did not arrive in time.
    pub const HEAD_TIMEOUT: Self = Self::new(408, "the request head did not arrive in time");
    /// The body paused for too long.
    pub const BODY_TIMEOUT: Self = Self::new(408, "the request body did not arrive in time");
    /// The body is longer than configured.
    pub const BODY_TOO_LARGE: Self = Self::new(413, "the body is too large");
    /// The app took too long.
    pub const APP_TIMEOUT: Self = Self::new(504, "the application did not answer in time");
    /// The app failed before it began its answer.
    pub const APP_FAILED: Self = Self::new(500, "the application failed");

    pub const fn new(status: u16, detail: &'static str) -> Self {
        Self { status, detail }
    }

    /// A request that is malformed: 400.
    pub(super) const fn bad(detail: &'static str) -> Self {
        Self::new(400, detail)
    }

    /// The standard phrase of the status.
    pub fn reason(&self) -> &'static str {
        status::reason(self.status)
    }

    /// Appends the whole answer: without a body where the request's method is HEAD. `date` is the value of the Date field, see
    /// [`super::date`]; `write_fields` appends fields to the head. Returns how many bytes of body it ends with.
    pub fn write_answer(
        &self,
        out: &mut Vec<u8>,
        date: &[u8],
        is_head: bool,
        write_fields: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        self.write_own_fields(out, date);
        write_fields(out);
        out.extend_from_slice(b"\r\n");
        for part in self.body().iter().filter(|_| !is_head) {
            out.extend_from_slice(part.as_bytes());
        }
        self.body_bytes(is_head)
    }

    /// How long the answer's body is.
    pub fn body_bytes(&self, is_head: bool) -> usize {
        match is_head {
            true => 0,
            false => self.body().iter().map(|part| part.len()).sum(),
        }
    }

    fn body(&self) -> [&'static str; 4] {
        [self.reason(), ": ", self.detail, "\n"]
    }

    fn write_own_fields(&self, out: &mut Vec<u8>, date: &[u8]) {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(number.format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.reason().as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date);
        out.extend_from_slice(
            b"\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ",
        );
        out.extend_from_slice(number.format(self.body_bytes(false)).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_answer_that_closes_the_connection() {
        let mut out = Vec::new();
        let refusal = Refusal::bad("a field name is empty");
        refusal.write_answer(&mut out, b"Sun, 06 Nov 1994 08:49:37 GMT", false, |_| {});
        assert_eq!(refusal.body_bytes(false), 35);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 400 Bad Request\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Connection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 35\r\n\
             \r\n\
             Bad Request: a field name is empty\n"
        );
    }

    #[test]
    fn an_answer_to_head_has_the_fields_alone() {
        let mut out = Vec::new();
        Refusal::APP_FAILED.write_answer(&mut out, b"now", true, |head| {
            head.extend_from_slice(b"X-Request-ID: a-1\r\n");
        });
        let text = String::from_utf8(out).unwrap();
        assert_eq!(Refusal::APP_FAILED.body_bytes(true), 0);
        assert!(
            text.ends_with("Content-Length: 46\r\nX-Request-ID: a-1\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_reads_as_a_sentence_in_the_log() {
        assert_eq!(
            Refusal::BODY_TOO_LARGE.to_string(),
            "413 Content Too Large: the body is too large"
        );
    }
}
