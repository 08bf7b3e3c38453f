//! The head of a response as an application says it: its fields are checked, those that belong to the server are taken note
//! of and left out, and what the server has to say comes at the end.

use super::{
    field,
    response::{self, RequestTraits, ResponseShape},
};

/// The head of one response, as far as the application has said it.
#[derive(Debug, Default)]
pub struct AppHead {
    /// The status line and the application's fields; with the server's, once it is complete.
    pub lines: Vec<u8>,
    /// As the application said it.
    pub content_length: Option<u64>,
    /// Of the body that it gave, where all of it is known before the head goes out.
    pub counted_length: Option<u64>,
    has_date: bool,
    /// The application asked for the connection to be closed.
    wants_close: bool,
}

impl AppHead {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            lines: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Forgets all that was said, and keeps its room.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.content_length = None;
        self.counted_length = None;
        self.has_date = false;
        self.wants_close = false;
    }

    /// Adds a field of the application's. An error says what is wrong with it, and never shows the value: it may be what an
    /// attacker wanted to see in a log.
    #[inline]
    pub fn add_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
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
                self.wants_close |=
                    field::elements(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                return self.set_content_length(value);
            }
            _ if field::is_hop_by_hop(name) => return Ok(()),
            _ => {}
        }
        response::write_field(&mut self.lines, name, value);
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

    /// Adds what the server has to say. `date` is asked for where the application gave none.
    #[inline]
    pub fn complete<'a>(
        &mut self,
        request: RequestTraits,
        status: u16,
        date: impl FnOnce() -> &'a [u8],
    ) -> ResponseShape {
        let request = RequestTraits {
            persistent: request.persistent && !self.wants_close,
            ..request
        };
        // RFC 9110 section 8.6: where no body goes out, Content-Length is that of the answer to GET. An application that
        // leaves the body out has not told it.
        let counted_length = (self.counted_length)
            .filter(|length| status != 304 && (*length > 0 || !request.is_head));
        let shape = ResponseShape::decide(request, status, self.content_length.or(counted_length));
        shape.write_fields(&mut self.lines, request.version);
        if !self.has_date {
            response::write_field(&mut self.lines, b"Date", date());
        }
        response::write_head_end(&mut self.lines);
        shape
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

    fn completed(fields: &[(&str, &str)]) -> (String, ResponseShape) {
        let mut head = AppHead::default();
        for (name, value) in fields {
            head.add_field(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let shape = head.complete(GET, 200, || b"now");
        (String::from_utf8(head.lines).unwrap(), shape)
    }

    /// The fields of a response whose body was counted.
    fn counted(request: RequestTraits, status: u16, length: u64) -> String {
        let mut head = AppHead {
            counted_length: Some(length),
            ..AppHead::default()
        };
        let _ = head.complete(request, status, || b"now");
        String::from_utf8(head.lines).unwrap()
    }

    #[test]
    fn a_body_that_was_left_out_says_no_length() {
        let head = RequestTraits {
            is_head: true,
            ..GET
        };
        let said = |length| format!("Content-Length: {length}\r\nDate: now\r\n\r\n");
        let nothing = "Date: now\r\n\r\n";
        assert_eq!(counted(GET, 200, 0), said(0));
        assert_eq!(counted(head, 200, 5), said(5));
        assert_eq!(counted(head, 200, 0), nothing);
        assert_eq!(counted(GET, 304, 0), nothing);
        assert_eq!(counted(GET, 304, 5), nothing);
        assert_eq!(counted(GET, 404, 5), said(5));
    }

    #[test]
    fn the_wish_to_close_may_stand_among_others() {
        for (value, closes) in [
            ("keep-alive, Close", true),
            ("close,", true),
            ("closed", false),
            ("keep-alive", false),
        ] {
            assert_eq!(completed(&[("Connection", value)]).1.persistent, !closes);
        }
    }

    #[test]
    fn the_app_has_no_say_in_the_framing() {
        let (lines, _) = completed(&[("transfer-encoding", "gzip"), ("x-a", "b")]);
        assert_eq!(
            lines,
            "x-a: b\r\nTransfer-Encoding: chunked\r\nDate: now\r\n\r\n"
        );
    }

    #[test]
    fn its_own_date_and_its_wish_to_close_are_kept() {
        let (lines, shape) = completed(&[
            ("dAte", "then"),
            ("Connection", " Close"),
            ("content-LENGTH", " 12 "),
        ]);
        assert_eq!(
            lines,
            "dAte: then\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"
        );
        assert!(!shape.persistent);
    }

    #[test]
    fn what_would_split_the_response_is_refused_and_not_shown() {
        let mut head = AppHead::default();
        assert_eq!(
            head.add_field(b"X-A", b"b\r\nSet-Cookie: c").unwrap_err(),
            "the value of the header \"X-A\" has a control character"
        );
        assert!(head.add_field(b"X A", b"").is_err());
        assert!(head.add_field(b"", b"").is_err());
        assert_eq!(head.lines, b"");
    }

    #[test]
    fn a_response_has_one_length() {
        let mut head = AppHead::default();
        assert!(head.add_field(b"Content-Length", b"5, 6").is_err());
        assert!(head.add_field(b"Content-Length", b"5").is_ok());
        assert!(head.add_field(b"Content-Length", b"5").is_ok());
        assert!(head.add_field(b"Content-Length", b"6").is_err());
    }
}
