//! The shape of an answer, and its lines.
//!
//! [`ResponseShape`] decides once, before the first byte, how the client will find the end of the body and whether the
//! connection lives on. The writers append to the connection's output buffer and allocate nothing of their own.

use super::parts::Version;

/// The interim answer that asks for the body, RFC 9110 section 15.2.1.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The empty chunk, and no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What of a request bears on the answer's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTraits {
    pub version: Version,
    /// Whether the method is HEAD.
    pub is_head: bool,
    /// Whether both sides want the connection to go on.
    pub persistent: bool,
}

/// How the client finds the end of the answer, RFC 9112 section 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// Neither Content-Length nor Transfer-Encoding: the status or the method says that there is no body.
    Nothing,
    /// Content-Length says it. With HEAD and 304 this is what GET would have had.
    Length(u64),
    /// Each piece is a chunk; [`LAST_CHUNK`] ends them.
    Chunked,
    /// The body ends where the connection does.
    UntilClose,
}

/// How a response goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseShape {
    pub framing: ResponseFraming,
    /// Whether the connection may serve another request afterwards.
    pub persistent: bool,
    /// Whether the application's bytes go out. If not they are dropped.
    pub send_body: bool,
}

impl ResponseShape {
    /// Decides the shape from the request and from what the application says: the status, and the Content-Length if it
    /// gave one or if its whole body is known.
    pub fn decide(request: RequestTraits, status: u16, content_length: Option<u64>) -> Self {
        let length = content_length.map(ResponseFraming::Length);
        let (framing, send_body) = match status {
            // RFC 9110 sections 8.6 and 15.3.5: neither length nor body.
            100..=199 | 204 => (ResponseFraming::Nothing, false),
            // RFC 9110 section 15.3.6: no content, and the client must be able to see that.
            205 => (ResponseFraming::Length(0), false),
            // RFC 9110 section 15.4.5: the length, if said, is that of the 200 it stands for.
            304 => (length.unwrap_or(ResponseFraming::Nothing), false),
            _ if request.is_head => (length.unwrap_or(ResponseFraming::Nothing), false),
            _ => match (length, request.version) {
                (Some(length), _) => (length, true),
                (None, Version::Http11) => (ResponseFraming::Chunked, true),
                // RFC 9112 section 6.1: HTTP/1.0 does not know chunks.
                (None, Version::Http10) => (ResponseFraming::UntilClose, true),
            },
        };
        // After an informational status the client waits for the final one, which will never come.
        let persistent =
            request.persistent && framing != ResponseFraming::UntilClose && status >= 200;
        Self {
            framing,
            persistent,
            send_body,
        }
    }

    /// Appends the fields that follow from the shape: Content-Length or Transfer-Encoding, and Connection. Those that the
    /// application set under these names are left out in favour of these.
    #[inline]
    pub fn write_fields(&self, out: &mut Vec<u8>, version: Version) {
        match self.framing {
            ResponseFraming::Length(length) => {
                write_field(
                    out,
                    b"Content-Length",
                    itoa::Buffer::new().format(length).as_bytes(),
                );
            }
            ResponseFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            ResponseFraming::Nothing | ResponseFraming::UntilClose => {}
        }
        match (self.persistent, version) {
            (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
            // RFC 9112 section 9.3: HTTP/1.0 clients must be told, HTTP/1.1 clients know.
            (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, Version::Http11) => {}
        }
    }
}

/// Appends `HTTP/1.1 ` and the status as the application wrote it, which [`super::field::parse_status`] has accepted.
///
/// The version is ours, not the client's: RFC 9110 section 2.5. A number alone gets the space that RFC 9112 section 4 asks for.
#[inline]
pub fn write_status_line(out: &mut Vec<u8>, status: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status);
    out.extend_from_slice(if status.len() == 3 { b" \r\n" } else { b"\r\n" });
}

/// Appends a field line. Name and value are known to be valid, see [`super::field`].
#[inline]
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the empty line that ends the head.
#[inline]
pub fn write_head_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole `103 Early Hints`, RFC 8297. Only for HTTP/1.1, and only before the final head.
pub fn write_early_hints<'a>(
    out: &mut Vec<u8>,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    write_status_line(out, b"103 Early Hints");
    for (name, value) in fields {
        write_field(out, name, value);
    }
    write_head_end(out);
}

/// Appends what stands before the data of a chunk; [`CHUNK_END`] stands after it. The size is not zero: that would be the
/// last chunk, so empty pieces must be skipped.
#[inline]
pub fn write_chunk_start(out: &mut Vec<u8>, size: usize) {
    debug_assert_ne!(size, 0, "an empty chunk ends the body");
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (place * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: RequestTraits = RequestTraits {
        version: Version::Http11,
        is_head: false,
        persistent: true,
    };
    const HEAD: RequestTraits = RequestTraits {
        is_head: true,
        ..GET
    };
    const OLD: RequestTraits = RequestTraits {
        version: Version::Http10,
        ..GET
    };

    /// The fields that the shape writes, and what it says of body and connection.
    fn shape(request: RequestTraits, status: u16, content_length: Option<u64>) -> String {
        let shape = ResponseShape::decide(request, status, content_length);
        let mut out = Vec::new();
        shape.write_fields(&mut out, request.version);
        let fields = String::from_utf8(out).unwrap().replace("\r\n", "; ");
        let body = if shape.send_body { "body" } else { "no body" };
        let connection = if shape.persistent { "goes on" } else { "ends" };
        format!("{fields}{body}, {connection}")
    }

    #[test]
    fn a_known_length_is_said() {
        assert_eq!(shape(GET, 200, Some(5)), "Content-Length: 5; body, goes on");
        assert_eq!(shape(GET, 404, Some(0)), "Content-Length: 0; body, goes on");
        assert_eq!(
            shape(OLD, 200, Some(5)),
            "Content-Length: 5; Connection: keep-alive; body, goes on"
        );
    }

    #[test]
    fn an_unknown_length_is_chunked_or_ends_with_the_connection() {
        assert_eq!(
            shape(GET, 200, None),
            "Transfer-Encoding: chunked; body, goes on"
        );
        assert_eq!(shape(OLD, 200, None), "Connection: close; body, ends");
    }

    #[test]
    fn a_client_that_closes_is_told_so() {
        let closing = RequestTraits {
            persistent: false,
            ..GET
        };
        assert_eq!(
            shape(closing, 200, Some(5)),
            "Content-Length: 5; Connection: close; body, ends"
        );
        assert_eq!(
            shape(closing, 200, None),
            "Transfer-Encoding: chunked; Connection: close; body, ends"
        );
        assert_eq!(
            shape(closing, 204, None),
            "Connection: close; no body, ends"
        );
    }

    #[test]
    fn head_says_the_length_and_has_no_body() {
        assert_eq!(
            shape(HEAD, 200, Some(5)),
            "Content-Length: 5; no body, goes on"
        );
        assert_eq!(shape(HEAD, 200, None), "no body, goes on");
        assert_eq!(
            shape(
                RequestTraits {
                    is_head: true,
                    ..OLD
                },
                200,
                None
            ),
            "Connection: keep-alive; no body, goes on"
        );
    }

    #[test]
    fn some_statuses_never_have_a_body() {
        assert_eq!(shape(GET, 204, Some(5)), "no body, goes on");
        assert_eq!(shape(GET, 204, None), "no body, goes on");
        assert_eq!(
            shape(OLD, 204, None),
            "Connection: keep-alive; no body, goes on"
        );
        assert_eq!(
            shape(GET, 205, Some(5)),
            "Content-Length: 0; no body, goes on"
        );
        assert_eq!(
            shape(GET, 304, Some(5)),
            "Content-Length: 5; no body, goes on"
        );
        assert_eq!(shape(GET, 304, None), "no body, goes on");
    }

    #[test]
    fn an_informational_status_as_the_last_word_ends_the_connection() {
        assert_eq!(shape(GET, 101, Some(5)), "Connection: close; no body, ends");
        assert_eq!(shape(HEAD, 199, None), "Connection: close; no body, ends");
    }

    #[test]
    fn lines_are_written_as_the_rfc_has_them() {
        let mut out = Vec::new();
        write_status_line(&mut out, b"404 Not Found");
        write_status_line(&mut out, b"204");
        write_field(&mut out, b"X", b"y");
        write_head_end(&mut out);
        write_early_hints(&mut out, [(&b"Link"[..], &b"</a.css>; rel=preload"[..])]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nHTTP/1.1 204 \r\nX: y\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        );
    }

    #[test]
    fn chunk_sizes_are_hexadecimal_without_leading_zeros() {
        for size in [1, 9, 15, 16, 255, 256, 65_536, 0xfff_ffff, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_start(&mut out, size);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{size:x}\r\n"));
        }
    }
}
