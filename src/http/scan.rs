//! The byte by byte automaton of a request head: for heads that come in pieces, and to name the first fault of a bad one.
//!
//! It looks at every byte once, however the head is cut into reads, and it refuses at the first byte that cannot belong to
//! a valid head within its limits: a TLS hello at its first byte, a line that is too long before its end. It keeps nothing
//! of what it saw; a head that it has accepted is then read by httparse.
//!
//! ```text
//! Start ─ CR ─ EmptyLine ─ LF ─ MethodStart ─ Method ─ SP ─ TargetStart ─ Target ─ SP ─ Version ─ CR ─ LineEnd ─ LF ─┐
//!   ┌────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   └ FieldStart ─ Name ─ ":" ─ Value ─ CR ─ LineEnd ─ LF ─ FieldStart … FieldStart ─ CR ─ HeadEnd ─ LF ─ Done
//! ```

use super::{
    field,
    head::Progress,
    limits::{HeadLimits, METHOD_BYTES_MAX},
    refusal::Refusal,
};

/// Where the automaton stands.
#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    /// Bytes of the buffer that were looked at.
    position: usize,
    /// Bytes of the head before the current line, without an empty line that came first.
    head_bytes: usize,
    /// Bytes of the current line.
    line_bytes: usize,
    /// Field lines begun.
    fields: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// After the CR of an empty line before the request line.
    EmptyLine,
    MethodStart,
    Method,
    TargetStart,
    Target,
    /// With the bytes of the version that were seen.
    Version {
        seen: u8,
        is_ours: bool,
    },
    /// After the CR of a line.
    LineEnd,
    FieldStart,
    Name,
    Value,
    /// After the CR of the last, empty line.
    HeadEnd,
    Done,
}

impl Scan {
    /// Whether nothing was looked at yet.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.position == 0
    }

    /// Looks at the bytes that are new in `buffer`, up to the end of the head.
    pub(super) fn advance(
        &mut self,
        buffer: &[u8],
        limits: &HeadLimits,
    ) -> Result<Progress, Refusal> {
        while self.state != State::Done {
            let Some(&byte) = buffer.get(self.position) else {
                return Ok(Progress::Partial);
            };
            self.state = self.step(byte, limits)?;
            self.position += 1;
        }
        Ok(Progress::Complete)
    }

    fn step(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        match self.state {
            State::Start => match byte {
                b'\r' => Ok(State::EmptyLine),
                _ => self.begin_method(byte, limits),
            },
            // RFC 9112 section 2.2 asks to ignore at least one empty line: old clients send one after a body. One it is.
            State::EmptyLine if byte == b'\n' => Ok(State::MethodStart),
            State::MethodStart => self.begin_method(byte, limits),
            State::Method | State::TargetStart | State::Target | State::Version { .. } => {
                self.step_in_request_line(byte, limits)
            }
            State::LineEnd if byte == b'\n' => {
                self.head_bytes += self.line_bytes + 2;
                self.line_bytes = 0;
                Ok(State::FieldStart)
            }
            State::FieldStart if byte == b'\r' => Ok(State::HeadEnd),
            State::FieldStart => self.begin_field(byte, limits),
            State::Name | State::Value => self.step_in_field(byte, limits),
            State::HeadEnd if byte == b'\n' => Ok(State::Done),
            State::EmptyLine | State::LineEnd | State::HeadEnd => {
                Err(Refusal::bad("a CR without LF"))
            }
            State::Done => Ok(State::Done),
        }
    }

    fn begin_method(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        self.count(byte, limits, limits.request_line, URI_TOO_LONG)?;
        match byte {
            _ if field::is_token_byte(byte) => Ok(State::Method),
            b'\r' | b'\n' => Err(Refusal::bad("an empty line in place of a request")),
            TLS_HANDSHAKE => Err(Refusal::bad("this is TLS, and plain HTTP is spoken here")),
            _ => Err(Refusal::bad("this is not an HTTP request")),
        }
    }

    /// `request-line = method SP request-target SP HTTP-version`, RFC 9112 section 3.
    fn step_in_request_line(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        self.count(byte, limits, limits.request_line, URI_TOO_LONG)?;
        match self.state {
            State::Method => match byte {
                b' ' => Ok(State::TargetStart),
                _ if !field::is_token_byte(byte) => Err(Refusal::bad("the method is not a token")),
                // RFC 9112 section 3: longer than any method that is implemented.
                _ if self.line_bytes > METHOD_BYTES_MAX => {
                    Err(Refusal::new(501, "the method is too long"))
                }
                _ => Ok(State::Method),
            },
            State::TargetStart if is_target_byte(byte) => Ok(State::Target),
            State::Target if is_target_byte(byte) => Ok(State::Target),
            State::Target if byte == b' ' => Ok(State::Version {
                seen: 0,
                is_ours: true,
            }),
            State::Target if byte == b'\r' || byte == b'\n' => {
                Err(Refusal::bad("the version is missing"))
            }
            State::Version { seen, is_ours } => step_in_version(byte, seen, is_ours),
            _ => Err(Refusal::bad("a byte that is not allowed in a target")),
        }
    }

    fn begin_field(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        self.fields += 1;
        match byte {
            _ if field::is_token_byte(byte) => {}
            // RFC 9112 section 5.2, obs-fold; and section 2.2 for white space before the first field.
            b' ' | b'\t' => return Err(Refusal::bad("a line that begins with white space")),
            b':' => return Err(Refusal::bad("a field name is empty")),
            b'\n' => return Err(Refusal::bad("an LF without CR")),
            _ => return Err(Refusal::bad("a byte that is not allowed in a field name")),
        }
        if self.fields > limits.headers_max() {
            return Err(Refusal::new(431, "too many header fields"));
        }
        self.count(byte, limits, limits.header_size, FIELD_TOO_LONG)?;
        Ok(State::Name)
    }

    /// `field-line = field-name ":" OWS field-value OWS`, RFC 9112 section 5.
    fn step_in_field(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        if self.state == State::Value && byte == b'\r' {
            return Ok(State::LineEnd);
        }
        self.count(byte, limits, limits.header_size, FIELD_TOO_LONG)?;
        match (self.state, byte) {
            (State::Value, _) if field::is_field_value_byte(byte) => Ok(State::Value),
            (State::Value, b'\n') => Err(Refusal::bad("an LF without CR")),
            (State::Value, _) => Err(Refusal::bad("a control character in a field value")),
            (_, _) if field::is_token_byte(byte) => Ok(State::Name),
            (_, b':') => Ok(State::Value),
            (_, b' ' | b'\t') => Err(Refusal::bad("white space in or after a field name")),
            (_, b'\r' | b'\n') => Err(Refusal::bad("a field line without a colon")),
            (_, _) => Err(Refusal::bad("a byte that is not allowed in a field name")),
        }
    }

    /// Counts a byte of the current line, and refuses the one that is too many for the line or for the head.
    #[inline]
    fn count(
        &mut self,
        byte: u8,
        limits: &HeadLimits,
        line_bytes_max: usize,
        otherwise: Refusal,
    ) -> Result<(), Refusal> {
        // A line end in the wrong place is told as such, not as one byte too many.
        if byte == b'\r' || byte == b'\n' {
            return Ok(());
        }
        self.line_bytes += 1;
        if self.line_bytes > line_bytes_max {
            return Err(otherwise);
        }
        // At least the CRLF of this line and the one that ends the head are still to come.
        if self.head_bytes + self.line_bytes + 4 > limits.head {
            return Err(Refusal::new(431, "the head is too large"));
        }
        Ok(())
    }
}

/// The first byte of TLS: the type of a record with a handshake in it, RFC 8446 section 5.1.
const TLS_HANDSHAKE: u8 = 22;

const URI_TOO_LONG: Refusal = Refusal::new(414, "the request line is too long");
const FIELD_TOO_LONG: Refusal = Refusal::new(431, "a header field is too long");

/// Visible ASCII but for `#`: a fragment is not sent, and what one server cuts off there another takes for the path.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// `HTTP-version = "HTTP/" DIGIT "." DIGIT`, RFC 9112 section 2.3, of which we speak 1.0 and 1.1.
fn step_in_version(byte: u8, seen: u8, is_ours: bool) -> Result<State, Refusal> {
    let is_ours = match (seen, byte) {
        (0..=4, _) if byte == b"HTTP/"[usize::from(seen)] => is_ours,
        (5, b'0'..=b'9') => byte == b'1',
        (6, b'.') => is_ours,
        (7, b'0' | b'1') if is_ours => is_ours,
        (7, b'0'..=b'9') => {
            return Err(Refusal::new(
                505,
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ));
        }
        (8, b'\r') => return Ok(State::LineEnd),
        (8, b'\n') => return Err(Refusal::bad("an LF without CR")),
        _ => return Err(Refusal::bad("the version is malformed")),
    };
    Ok(State::Version {
        seen: seen + 1,
        is_ours,
    })
}
