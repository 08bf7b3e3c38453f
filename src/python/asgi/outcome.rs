//! The response as the app has said it so far: its head, how its body is framed, how much of it there was.

use crate::{
    http::{RequestTraits, ResponseFraming, ResponseShape, field, response, status},
    python::date::CachedDate,
};

/// Room for a usual head.
const HEAD_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Outcome {
    /// The status line and the app's fields; with ours, once `shape` is set.
    pub(super) head: Vec<u8>,
    /// Zero before the response has begun.
    pub(super) status: u16,
    content_length: Option<u64>,
    has_date: bool,
    /// The app asked for the connection to be closed.
    pub(super) wants_close: bool,
    /// Decided when the first byte is due; from then on the head cannot change.
    pub(super) shape: Option<ResponseShape>,
    /// Bytes of body, without framing.
    pub(super) body_bytes: u64,
}

impl Outcome {
    pub(super) fn has_begun(&self) -> bool {
        self.status != 0
    }

    pub(super) fn head_is_sent(&self) -> bool {
        self.shape.is_some()
    }

    pub(super) fn begin(&mut self, status: u16) {
        self.head.reserve(HEAD_BYTES);
        let mut digits = itoa::Buffer::new();
        self.head.extend_from_slice(b"HTTP/1.1 ");
        self.head
            .extend_from_slice(digits.format(status).as_bytes());
        self.head.push(b' ');
        self.head
            .extend_from_slice(status::reason(status).as_bytes());
        self.head.extend_from_slice(b"\r\n");
        self.status = status;
    }

    /// Adds a field of the app's. An error says what is wrong with it, and never shows the value: it may be what an
    /// attacker wanted to see in a log.
    pub(super) fn add_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if !field::is_token(name) {
            return Err(format!("{:?} is no header name", shown()));
        }
        if !field::is_field_value(value) {
            return Err(format!(
                "the value of the header {:?} has a control character",
                shown()
            ));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.wants_close |= value.trim_ascii().eq_ignore_ascii_case(b"close");
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                return self.set_content_length(value);
            }
            _ if field::is_hop_by_hop(name) => return Ok(()),
            _ => {}
        }
        response::write_field(&mut self.head, name, value);
        Ok(())
    }

    fn set_content_length(&mut self, value: &[u8]) -> Result<(), String> {
        match field::parse_content_length(value.trim_ascii()) {
            Some(length) if self.content_length.is_none_or(|known| known == length) => {
                self.content_length = Some(length);
                Ok(())
            }
            _ => Err("Content-Length must be one number of bytes".to_owned()),
        }
    }

    /// Completes the head. `body_length` is that of the whole body, if it is known.
    pub(super) fn complete_head(
        &mut self,
        request: RequestTraits,
        body_length: Option<u64>,
        date: &mut CachedDate,
    ) -> ResponseShape {
        let request = RequestTraits {
            persistent: request.persistent && !self.wants_close,
            ..request
        };
        let shape =
            ResponseShape::decide(request, self.status, self.content_length.or(body_length));
        shape.write_fields(&mut self.head, request.version);
        if !self.has_date {
            response::write_field(&mut self.head, b"Date", date.now());
        }
        self.head.extend_from_slice(b"\r\n");
        self.shape = Some(shape);
        shape
    }

    /// Counts a piece of the body; an error where it is more, or as the last one less, than Content-Length says.
    pub(super) fn count(&mut self, bytes: usize, is_last: bool) -> Result<(), &'static str> {
        let total = self.body_bytes + bytes as u64;
        let is_checked = match &self.shape {
            Some(shape) => shape.send_body,
            None => true,
        };
        let expected = match (&self.shape, self.content_length) {
            (Some(shape), _) => match shape.framing {
                ResponseFraming::Length(length) => Some(length),
                _ => None,
            },
            (None, said) => said,
        };
        match expected {
            Some(length) if is_checked && total > length => {
                return Err("the response's body is longer than its Content-Length");
            }
            Some(length) if is_checked && is_last && total < length => {
                return Err("the response's body is shorter than its Content-Length");
            }
            _ => {}
        }
        self.body_bytes = total;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Version;

    const GET: RequestTraits = RequestTraits {
        version: Version::Http11,
        is_head: false,
        persistent: true,
    };

    fn begun(content_length: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.begin(200);
        outcome
            .add_field(b"content-length", content_length)
            .unwrap();
        outcome
    }

    #[test]
    fn a_body_must_be_as_long_as_its_content_length_says() {
        let mut outcome = begun(b"5");
        assert!(outcome.count(3, false).is_ok());
        assert!(outcome.count(3, false).is_err(), "too long");
        assert!(outcome.count(1, true).is_err(), "too short");
        assert!(outcome.count(2, true).is_ok());
        assert_eq!(outcome.body_bytes, 5);
    }

    #[test]
    fn the_answer_to_head_needs_no_body() {
        let mut outcome = begun(b"5");
        let head = RequestTraits {
            is_head: true,
            ..GET
        };
        outcome.complete_head(head, None, &mut CachedDate::default());
        assert!(outcome.count(0, true).is_ok());
    }

    #[test]
    fn the_app_has_no_say_in_the_framing() {
        let mut outcome = Outcome::default();
        outcome.begin(200);
        outcome.add_field(b"transfer-encoding", b"gzip").unwrap();
        outcome.add_field(b"x-a", b"b").unwrap();
        outcome.complete_head(GET, None, &mut CachedDate::default());
        let head = String::from_utf8(outcome.head).unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nx-a: b\r\nTransfer-Encoding: chunked\r\nDate: "),
            "{head}"
        );
        assert!(!head.contains("gzip"));
    }

    #[test]
    fn what_would_split_the_response_is_refused() {
        let mut outcome = Outcome::default();
        outcome.begin(200);
        assert!(outcome.add_field(b"x-a", b"b\r\nset-cookie: c").is_err());
        assert!(outcome.add_field(b"x a", b"b").is_err());
        assert!(outcome.add_field(b"content-length", b"5, 6").is_err());
    }
}
