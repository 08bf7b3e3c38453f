//! The head of a request: from bytes to places and decisions.
//!
//! [`RequestHead`] is made once per connection and used for every request on it. It keeps offsets, not references, so the
//! buffer may move between reads, and its vector of fields keeps its room, so a request allocates nothing.
//!
//! A head that is there in one piece takes the fast path: httparse, then the checks that httparse leaves to us, each of
//! which costs a few comparisons. Everything else (a head that comes in pieces, a head with a fault) goes through the byte
//! by byte automaton in `scan`, which remembers where it stopped and names the first fault. Both accept the same language;
//! a property test holds them to it.

use std::mem::MaybeUninit;

use super::{
    limits::{HEADERS_MAX, HeadLimits, METHOD_BYTES_MAX},
    parts::{Field, Framing, Span, Version},
    refusal::Refusal,
    rules::Rules,
    scan::Scan,
    target::Target,
};

/// How far the head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// The head is there; all of it is valid.
    Complete,
    /// Nothing is wrong so far; call again with more bytes.
    Partial,
}

/// The head of one request. Its contents mean something only after [`RequestHead::parse`] said `Complete`, and its spans only
/// with the buffer of that call.
#[derive(Debug, Default)]
pub struct RequestHead {
    pub method: Span,
    /// As it stood in the request line.
    pub target: Span,
    /// The path as sent, percent signs and all; without the scheme and authority of an absolute target; `*` for `OPTIONS *`.
    pub path: Span,
    /// What follows the first question mark; empty if there is none.
    pub query: Span,
    pub version: Version,
    pub fields: Vec<Field>,
    /// Host and port that the request is for: the authority of an absolute target, else the value of Host; empty if neither
    /// says anything. RFC 9112 section 3.2.2 has the target win, so take this and not the field.
    pub host: Span,
    /// Bytes of the head, with its final CRLF and with an empty line that came before it. The body begins there.
    pub length: usize,
    pub framing: Framing,
    /// Whether the connection goes on after the answer: as the client wants it, RFC 9112 section 9.3, and never where it asked for a
    /// WebSocket.
    pub persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. False if there is no body.
    pub expect_continue: bool,
    scan: Scan,
}

impl RequestHead {
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for a whole request head at the start of `buffer`.
    ///
    /// While the answer is `Partial`, the next call must pass the same bytes with more behind them; the work then continues
    /// where it stopped. After `Complete` the caller drops `length` bytes (and the body) and may parse the next request.
    /// After a refusal method, target and fields are those of the refused request if its syntax was right, and empty if not,
    /// so that it can be logged. Before the head serves another connection, call [`RequestHead::reset`].
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Progress, Refusal> {
        if self.scan.is_fresh() && self.read(buffer, limits)? {
            return Ok(Progress::Complete);
        }
        self.parse_slowly(buffer, limits)
    }

    /// Whether the first byte of a request has come: an empty line before it does not count. If the connection ends or times
    /// out before, nothing was asked and nothing is to be answered.
    pub fn has_begun(buffer: &[u8]) -> bool {
        !matches!(buffer, b"" | b"\r" | b"\r\n")
    }

    /// Forgets everything about the last request, and keeps the room.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self {
            fields,
            ..Self::default()
        };
    }

    #[inline]
    pub fn method<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        self.method.bytes(buffer)
    }

    /// The request line as sent, without its end.
    #[inline]
    pub fn line<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        // One space stands between the target and the version (RFC 9112 section 3); what is laxer was refused.
        let end = self.target.end as usize + 1 + self.version.as_str().len();
        &buffer[self.method.start as usize..end]
    }

    #[inline]
    pub fn is_head(&self, buffer: &[u8]) -> bool {
        self.method(buffer) == b"HEAD"
    }

    #[inline]
    pub fn target<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        self.target.bytes(buffer)
    }

    #[inline]
    pub fn path<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        self.path.bytes(buffer)
    }

    #[inline]
    pub fn query<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        self.query.bytes(buffer)
    }

    #[inline]
    pub fn host<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        self.host.bytes(buffer)
    }

    /// Names, in the case of the client, and values, in the order of arrival.
    #[inline]
    pub fn fields<'b>(
        &self,
        buffer: &'b [u8],
    ) -> impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + DoubleEndedIterator + Clone {
        self.fields
            .iter()
            .map(move |field| (field.name.bytes(buffer), field.value.bytes(buffer)))
    }

    /// The automaton decides whether the head is whole and in order; only then is it read.
    #[cold]
    fn parse_slowly(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Progress, Refusal> {
        match self.scan.advance(buffer, limits) {
            Ok(Progress::Partial) => return Ok(Progress::Partial),
            Ok(Progress::Complete) => {}
            Err(refusal) => {
                self.reset();
                return Err(refusal);
            }
        }
        self.scan = Scan::default();
        match self.read(buffer, limits)? {
            true => Ok(Progress::Complete),
            // Only if the two disagree about the grammar, which would be our mistake.
            false => {
                self.reset();
                Err(Refusal::bad("the head is malformed"))
            }
        }
    }

    /// Reads a head that is there in one piece. False: it is not, or some syntax or limit is violated. A refusal: the syntax
    /// is right but the request is not acceptable.
    #[inline]
    fn read(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<bool, Refusal> {
        // Where the memory is not initialised it costs nothing to have room for the most that can be configured.
        let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let start = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
        let parsed =
            request.parse_with_uninit_headers(&buffer[start..], &mut room[..limits.headers_max()]);
        let (Ok(httparse::Status::Complete(bytes)), Some(method), Some(target), Some(minor)) =
            (parsed, request.method, request.path, request.version)
        else {
            return Ok(false);
        };
        let (method, target) = (method.as_bytes(), target.as_bytes());
        self.method = Span::of(method, buffer);
        self.target = Span::of(target, buffer);
        self.version = [Version::Http10, Version::Http11][usize::from(minor)];
        self.length = start + bytes;

        // httparse skips any number of empty lines, takes any visible byte and all of UTF-8 in a target, and knows no bound.
        let line_end = self.target.end as usize + " HTTP/1.1".len();
        let is_in_order = self.method.start as usize == start
            && method.len() <= METHOD_BYTES_MAX
            && target.is_ascii()
            && memchr::memchr(b'#', target).is_none()
            && line_end - start <= limits.request_line
            && bytes <= limits.head
            && buffer[line_end] == b'\r'
            && buffer[..self.length].ends_with(b"\r\n\r\n");
        if !is_in_order {
            return Ok(false);
        }
        match self.read_fields(request.headers, line_end + 2, buffer, limits) {
            Some(rules) => self
                .settle(method, target, rules, buffer, limits)
                .map(|()| true),
            None => Ok(false),
        }
    }

    /// Keeps the places of the fields and notes what they mean. `None`: a line does not end in CRLF or is too long.
    #[inline]
    fn read_fields<'b>(
        &mut self,
        headers: &[httparse::Header<'b>],
        start: usize,
        buffer: &'b [u8],
        limits: &HeadLimits,
    ) -> Option<Rules<'b>> {
        self.fields.clear();
        let mut rules = Rules::default();
        let mut has_lone_lf = false;
        let mut line_start = start;
        let mut line_bytes_max = 0;
        for header in headers {
            let field = Field {
                name: Span::of(header.name.as_bytes(), buffer),
                value: Span::of(header.value, buffer),
            };
            // httparse takes a lone LF for a line end. A name starts right after one: the byte before that must be CR.
            let next_start = field.name.start as usize;
            has_lone_lf |= buffer[next_start - 2] != b'\r';
            line_bytes_max = line_bytes_max.max(next_start - line_start);
            line_start = next_start;
            self.fields.push(field);
            rules.note(header.name.as_bytes(), header.value);
        }
        // Lines are measured with their CRLF, from name to name, and the last one to the empty line.
        line_bytes_max = line_bytes_max.max(self.length - 2 - line_start);
        let is_in_order = !has_lone_lf && line_bytes_max <= limits.header_size.saturating_add(2);
        is_in_order.then_some(rules)
    }

    /// Decides what the request is for and how it goes on.
    #[inline]
    fn settle<'b>(
        &mut self,
        method: &[u8],
        target: &'b [u8],
        rules: Rules<'b>,
        buffer: &'b [u8],
        limits: &HeadLimits,
    ) -> Result<(), Refusal> {
        // What a refusal leaves of these must not point into the buffer of the last request.
        (self.path, self.query, self.host) = Default::default();
        let target = Target::parse(method, target)?;
        let ruling = rules.settle(self.version, limits)?;
        self.path = Span::of(target.path, buffer);
        self.query = Span::of(target.query, buffer);
        if let Some(host) = target.authority.or(ruling.host) {
            self.host = Span::of(host, buffer);
        }
        self.framing = ruling.framing;
        self.persistent = ruling.persistent;
        self.expect_continue = ruling.expect_continue;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        request_line: 100,
        headers: 3,
        header_size: 50,
        head: 1 << 20,
        body: 0,
    };

    fn refusal_of(buffer: &[u8], limits: &HeadLimits) -> Option<u16> {
        RequestHead::new()
            .parse(buffer, limits)
            .err()
            .map(|refusal| refusal.status)
    }

    #[test]
    fn a_head_is_taken_apart_into_places_in_the_buffer() {
        let buffer = b"POST /a%20b?c=d HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\nhi";
        let mut head = RequestHead::new();
        assert_eq!(head.parse(buffer, &LIMITS), Ok(Progress::Complete));
        assert_eq!(head.method(buffer), b"POST");
        assert_eq!(head.target(buffer), b"/a%20b?c=d");
        assert_eq!(
            (head.path(buffer), head.query(buffer)),
            (&b"/a%20b"[..], &b"c=d"[..])
        );
        assert_eq!(head.host(buffer), b"h:1");
        assert_eq!(
            (head.framing, head.persistent, head.length),
            (Framing::Length(2), true, buffer.len() - 2)
        );
        assert_eq!(
            head.fields(buffer).collect::<Vec<_>>(),
            [(&b"Host"[..], &b"h:1"[..]), (b"Content-Length", b"2")]
        );
    }

    #[test]
    fn the_request_line_is_told_as_it_was_sent() {
        for (line, end) in [
            ("GET /a%20b?c HTTP/1.1", "\r\nHost: h\r\n\r\n"),
            ("PUT http://h/a HTTP/1.0", "\r\nHost: h\r\n\r\n"),
            ("OPTIONS * HTTP/1.1", "\r\nHost: h\r\n\r\n"),
        ] {
            for empty_line in ["", "\r\n"] {
                let buffer = [empty_line, line, end].concat();
                let mut head = RequestHead::new();
                let parsed = head.parse(buffer.as_bytes(), &LIMITS);
                assert_eq!(parsed, Ok(Progress::Complete));
                assert_eq!(head.line(buffer.as_bytes()), line.as_bytes());
            }
        }
        for padded in ["GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 "] {
            let buffer = [padded, "\r\nHost: h\r\n\r\n"].concat();
            let parsed = RequestHead::new().parse(buffer.as_bytes(), &LIMITS);
            assert!(parsed.is_err(), "{padded}");
        }
    }

    #[test]
    fn the_room_for_fields_is_used_again() {
        let buffer = b"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
        let mut head = RequestHead::new();
        assert_eq!(head.parse(buffer, &LIMITS), Ok(Progress::Complete));
        let room = head.fields.as_ptr();
        head.reset();
        for _ in 0..3 {
            assert_eq!(head.parse(buffer, &LIMITS), Ok(Progress::Complete));
            assert_eq!((head.fields.len(), head.fields.as_ptr()), (2, room));
        }
    }

    #[test]
    fn nothing_of_a_request_is_left_in_the_next() {
        let mut head = RequestHead::new();
        let first = b"PUT http://h/long/path?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        assert_eq!(head.parse(first, &LIMITS), Ok(Progress::Complete));
        let second = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(head.parse(second, &LIMITS), Ok(Progress::Complete));
        assert_eq!(
            (head.host(second), head.query(second), head.fields.len()),
            (&b""[..], &b""[..], 1)
        );
        assert_eq!(
            (head.framing, head.persistent, head.expect_continue),
            (Framing::None, true, false)
        );
    }

    #[test]
    fn a_refused_request_can_be_logged_if_its_syntax_was_right() {
        let mut head = RequestHead::new();
        assert_eq!(
            head.parse(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", &LIMITS),
            Ok(Progress::Complete)
        );
        let unacceptable = b"PUT /x HTTP/1.1\r\n\r\n";
        assert!(head.parse(unacceptable, &LIMITS).is_err());
        assert_eq!(
            (head.method(unacceptable), head.target(unacceptable)),
            (&b"PUT"[..], &b"/x"[..])
        );
        assert_eq!(head.path(unacceptable), b"");
        let malformed = b"\x16";
        assert!(head.parse(malformed, &LIMITS).is_err());
        assert_eq!(
            (head.method(malformed), head.target(malformed)),
            (&b""[..], &b""[..])
        );
        assert_eq!(
            head.parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &LIMITS),
            Ok(Progress::Complete)
        );
    }

    #[test]
    fn garbage_is_refused_before_any_line_ends() {
        assert_eq!(refusal_of(b"\x16\x03\x01", &LIMITS), Some(400));
        assert_eq!(refusal_of(b"GET /\x00", &LIMITS), Some(400));
        assert_eq!(refusal_of(b"GET / HTTP/2", &LIMITS), None);
        assert_eq!(refusal_of(b"GET / HTTP/2.0", &LIMITS), Some(505));
        assert_eq!(
            refusal_of(b"GET / HTTP/1.1\r\nHost : h", &LIMITS),
            Some(400)
        );
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let line = |path: usize| format!("GET /{} HTTP/1.0", "a".repeat(path));
        assert_eq!(
            refusal_of(format!("{}\r\n\r\n", line(100 - 14)).as_bytes(), &LIMITS),
            None
        );
        assert_eq!(
            refusal_of(format!("{}\r\n\r\n", line(101 - 14)).as_bytes(), &LIMITS),
            Some(414)
        );
        assert_eq!(refusal_of(&line(200).as_bytes()[..101], &LIMITS), Some(414));
        assert_eq!(refusal_of(&line(200).as_bytes()[..100], &LIMITS), None);
        let fields = |count: usize, value: usize| {
            format!(
                "GET / HTTP/1.0\r\n{}\r\n",
                format!("X:{}\r\n", "y".repeat(value)).repeat(count)
            )
        };
        assert_eq!(refusal_of(fields(3, 48).as_bytes(), &LIMITS), None);
        assert_eq!(refusal_of(fields(4, 1).as_bytes(), &LIMITS), Some(431));
        assert_eq!(refusal_of(fields(1, 49).as_bytes(), &LIMITS), Some(431));
        assert_eq!(
            refusal_of(&fields(1, 99).as_bytes()[..16 + 51], &LIMITS),
            Some(431)
        );
    }

    #[test]
    fn a_head_is_bounded_as_a_whole_whatever_its_lines_may_be() {
        let endless = HeadLimits {
            request_line: usize::MAX,
            headers: usize::MAX,
            header_size: usize::MAX,
            head: 5000,
            body: 0,
        };
        let longest = endless.head - "GET / HTTP/1.0\r\nX:\r\n\r\n".len();
        let head = |value: usize| format!("GET / HTTP/1.0\r\nX:{}\r\n\r\n", "y".repeat(value));
        assert_eq!(refusal_of(head(longest).as_bytes(), &endless), None);
        assert_eq!(
            refusal_of(head(longest + 1).as_bytes(), &endless),
            Some(431)
        );
        // In pieces it is refused at the first byte that is too many.
        let begun = &head(10_000).into_bytes()[..endless.head - 3];
        assert_eq!(refusal_of(&begun[..begun.len() - 1], &endless), None);
        assert_eq!(refusal_of(begun, &endless), Some(431));
        assert_eq!(
            refusal_of(
                format!("GET / HTTP/1.0\r\n{}\r\n", "X:\r\n".repeat(513)).as_bytes(),
                &endless
            ),
            Some(431)
        );
        assert_eq!(
            refusal_of(
                format!("GET / HTTP/1.0\r\n{}\r\n", "X:\r\n".repeat(512)).as_bytes(),
                &endless
            ),
            None
        );
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_looked_at_once() {
        // Were each call to begin anew, this would take minutes.
        let wide = HeadLimits {
            headers: 512,
            header_size: 8190,
            ..LIMITS
        };
        let text = format!(
            "GET / HTTP/1.0\r\n{}\r\n",
            format!("X: {}\r\n", "y".repeat(1000)).repeat(300)
        );
        let mut head = RequestHead::new();
        for length in 0..text.len() {
            assert_eq!(
                head.parse(&text.as_bytes()[..length], &wide),
                Ok(Progress::Partial)
            );
        }
        assert_eq!(head.parse(text.as_bytes(), &wide), Ok(Progress::Complete));
    }

    #[test]
    fn an_empty_line_alone_is_no_request() {
        assert!(
            !RequestHead::has_begun(b"")
                && !RequestHead::has_begun(b"\r")
                && !RequestHead::has_begun(b"\r\n")
        );
        assert!(RequestHead::has_begun(b"G") && RequestHead::has_begun(b"\r\nG"));
    }
}
