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

    /// Appends the whole answer. `date` is the value of the Date field, see [`super::date`].
    ///
    /// Also right if the method was HEAD and not understood: the connection ends, so the client takes no harm.
    pub fn write_response(&self, out: &mut Vec<u8>, date: &[u8]) {
        self.write_answer(out, date, false, |_| {});
    }

    /// Appends the answer to a request that was understood: without a body where its method was HEAD. `write_fields` appends
    /// fields to the head.
    pub fn write_answer(
        &self,
        out: &mut Vec<u8>,
        date: &[u8],
        is_head: bool,
        write_fields: impl FnOnce(&mut Vec<u8>),
    ) {
        self.write_own_fields(out, date);
        write_fields(out);
        out.extend_from_slice(b"\r\n");
        let body = [self.reason(), ": ", self.detail, "\n"];
        for part in body.iter().filter(|_| !is_head) {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn write_own_fields(&self, out: &mut Vec<u8>, date: &[u8]) {
        let mut number = itoa::Buffer::new();
        let length = self.reason().len() + ": ".len() + self.detail.len() + "\n".len();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(number.format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.reason().as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date);
        out.extend_from_slice(
            b"\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ",
        );
        out.extend_from_slice(number.format(length).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_answer_that_closes_the_connection() {
        let mut out = Vec::new();
        Refusal::bad("a field name is empty")
            .write_response(&mut out, b"Sun, 06 Nov 1994 08:49:37 GMT");
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
