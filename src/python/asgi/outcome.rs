//! The response as the app has said it so far: its head, how its body is framed, how much of it there was.

use crate::{
    http::{AppHead, RequestTraits, ResponseFraming, ResponseShape, status},
    python::date::CachedDate,
};

/// Room for a usual head.
const HEAD_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Outcome {
    /// Complete once `shape` is set.
    pub(super) head: AppHead,
    /// Zero before the response has begun.
    pub(super) status: u16,
    /// Decided when the first byte is due; from then on the head cannot change.
    pub(super) shape: Option<ResponseShape>,
    /// Bytes of body, without framing.
    pub(super) body_bytes: u64,
}

impl Outcome {
    /// Forgets all, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.status = 0;
        self.shape = None;
        self.body_bytes = 0;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.status != 0
    }

    pub(super) fn head_is_sent(&self) -> bool {
        self.shape.is_some()
    }

    pub(super) fn begin(&mut self, status: u16) {
        let lines = &mut self.head.lines;
        lines.reserve(HEAD_BYTES);
        lines.extend_from_slice(b"HTTP/1.1 ");
        lines.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        lines.push(b' ');
        lines.extend_from_slice(status::reason(status).as_bytes());
        lines.extend_from_slice(b"\r\n");
        self.status = status;
    }

    /// Completes the head. `body_length` is that of the whole body, if it is known.
    pub(super) fn complete_head(
        &mut self,
        request: RequestTraits,
        body_length: Option<u64>,
        date: &mut CachedDate,
    ) -> ResponseShape {
        self.head.counted_length = body_length;
        let shape = self.head.complete(request, self.status, || date.now());
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
        let expected = match (&self.shape, self.head.content_length) {
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
            .head
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
}
