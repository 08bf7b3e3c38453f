//! The chunked transfer coding, RFC 9112 section 7.1, taken strictly: what one server reads leniently, another reads
//! differently, and between the two a request can be smuggled.
//!
//! Extensions are checked against their grammar and ignored. Trailer fields are checked and dropped: an application has no
//! way to receive them. Those that would change the meaning of the message, had they stood in the head, are refused.

use super::{
    field,
    limits::{CHUNK_EXTENSIONS_BYTES_MAX, CHUNK_LINE_BYTES_MAX, HeadLimits},
    refusal::Refusal,
};

/// Decodes one chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The size of the current chunk, of which so many bytes are still to come.
    remaining: u64,
    /// Bytes of content announced by the chunks so far.
    announced: u64,
    /// Bytes of the current size line or trailer line.
    line_bytes: usize,
    /// Bytes of all size lines that were not needed for a size.
    extension_bytes: u64,
    trailers: usize,
    trailer_name: TrailerName,
    limits: HeadLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit.
    SizeStart,
    Size {
        digits: u8,
    },
    /// In white space that must be followed by another extension.
    BeforeSemicolon,
    ExtensionNameStart,
    ExtensionName,
    /// In white space after the name, before `=` or `;`.
    AfterExtensionName,
    ExtensionValueStart,
    ExtensionValue,
    Quoted,
    /// After a backslash.
    QuotedPair,
    AfterQuoted,
    /// After the CR of a size line.
    SizeEnd,
    Data,
    /// Before the CR that follows data.
    DataEnd,
    /// After that CR.
    DataEndLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerEnd,
    /// After the CR of the last, empty line.
    BodyEnd,
    Done,
}

impl Chunked {
    pub(super) fn new(limits: &HeadLimits) -> Self {
        Self {
            state: State::SizeStart,
            remaining: 0,
            announced: 0,
            line_bytes: 0,
            extension_bytes: 0,
            trailers: 0,
            trailer_name: TrailerName::default(),
            limits: *limits,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes and tells how many of them belong to the body.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        let mut rest = input;
        while let (Some(&byte), false) = (rest.first(), self.is_complete()) {
            if self.state == State::Data {
                let taken = usize::try_from(self.remaining)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                let (data, after) = rest.split_at(taken);
                sink(data);
                self.remaining -= taken as u64;
                if self.remaining == 0 {
                    self.state = State::DataEnd;
                }
                rest = after;
            } else {
                self.state = self.step(byte)?;
                rest = &rest[1..];
            }
        }
        Ok(input.len() - rest.len())
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::SizeStart
            | State::Size { .. }
            | State::BeforeSemicolon
            | State::ExtensionNameStart
            | State::ExtensionName
            | State::AfterExtensionName
            | State::ExtensionValueStart
            | State::ExtensionValue
            | State::Quoted
            | State::QuotedPair
            | State::AfterQuoted
            | State::SizeEnd => self.step_in_size_line(byte),
            State::DataEnd if byte == b'\r' => Ok(State::DataEndLf),
            State::DataEndLf if byte == b'\n' => Ok(State::SizeStart),
            State::DataEnd | State::DataEndLf => {
                Err(Refusal::bad("no CRLF after the data of a chunk"))
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerEnd
            | State::BodyEnd => self.step_in_trailers(byte),
            // `decode` takes data by the slice, and nothing after the end.
            State::Data | State::Done => Ok(self.state),
        }
    }

    /// ```text
    /// chunk-size CRLF, chunk-size = 1*HEXDIG
    /// chunk-ext  = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
    /// ```
    fn step_in_size_line(&mut self, byte: u8) -> Result<State, Refusal> {
        if byte != b'\r' && byte != b'\n' {
            self.line_bytes += 1;
            if self.line_bytes > CHUNK_LINE_BYTES_MAX {
                return Err(Refusal::bad("a chunk-size line is too long"));
            }
        }
        match self.state {
            State::SizeStart => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => Ok(self.add_digit(byte, 0)),
                _ => Err(Refusal::bad("a chunk size is not a hexadecimal number")),
            },
            State::Size { digits } => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if digits < SIZE_DIGITS_MAX => {
                    Ok(self.add_digit(byte, digits))
                }
                _ => after_element(byte, "a chunk size is not a hexadecimal number"),
            },
            State::BeforeSemicolon => match byte {
                b' ' | b'\t' => Ok(State::BeforeSemicolon),
                b';' => Ok(State::ExtensionNameStart),
                _ => Err(Refusal::bad(EXTENSION)),
            },
            State::ExtensionNameStart => match byte {
                b' ' | b'\t' => Ok(State::ExtensionNameStart),
                _ if field::is_token_byte(byte) => Ok(State::ExtensionName),
                _ => Err(Refusal::bad(EXTENSION)),
            },
            State::ExtensionName => match byte {
                _ if field::is_token_byte(byte) => Ok(State::ExtensionName),
                b' ' | b'\t' => Ok(State::AfterExtensionName),
                b'=' => Ok(State::ExtensionValueStart),
                _ => after_element(byte, EXTENSION),
            },
            State::AfterExtensionName => match byte {
                b' ' | b'\t' => Ok(State::AfterExtensionName),
                b'=' => Ok(State::ExtensionValueStart),
                b';' => Ok(State::ExtensionNameStart),
                _ => Err(Refusal::bad(EXTENSION)),
            },
            State::ExtensionValueStart => match byte {
                b' ' | b'\t' => Ok(State::ExtensionValueStart),
                b'"' => Ok(State::Quoted),
                _ if field::is_token_byte(byte) => Ok(State::ExtensionValue),
                _ => Err(Refusal::bad(EXTENSION)),
            },
            State::ExtensionValue if field::is_token_byte(byte) => Ok(State::ExtensionValue),
            State::Quoted => match byte {
                b'"' => Ok(State::AfterQuoted),
                b'\\' => Ok(State::QuotedPair),
                _ if field::is_field_value_byte(byte) => Ok(State::Quoted),
                _ => Err(Refusal::bad(EXTENSION)),
            },
            State::QuotedPair if field::is_field_value_byte(byte) => Ok(State::Quoted),
            State::QuotedPair => Err(Refusal::bad(EXTENSION)),
            State::SizeEnd if byte == b'\n' => self.begin_chunk(),
            State::SizeEnd => Err(Refusal::bad("a chunk-size line does not end in CRLF")),
            // The value of an extension, a token or a quoted string, has ended.
            _ => after_element(byte, EXTENSION),
        }
    }

    fn add_digit(&mut self, byte: u8, digits: u8) -> State {
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        self.remaining = self.remaining << 4 | u64::from(digit);
        State::Size { digits: digits + 1 }
    }

    fn begin_chunk(&mut self) -> Result<State, Refusal> {
        let line_bytes = std::mem::take(&mut self.line_bytes);
        self.extension_bytes += line_bytes.saturating_sub(usize::from(SIZE_DIGITS_MAX)) as u64;
        if self.extension_bytes > CHUNK_EXTENSIONS_BYTES_MAX.saturating_add(self.announced) {
            return Err(Refusal::bad(
                "the chunk extensions are larger than the body",
            ));
        }
        if self.remaining == 0 {
            return Ok(State::TrailerStart);
        }
        match self.announced.checked_add(self.remaining) {
            Some(announced) if !self.limits.body_is_too_large(announced) => {
                self.announced = announced
            }
            _ => return Err(Refusal::BODY_TOO_LARGE),
        }
        Ok(State::Data)
    }

    /// `trailer-section = *( field-line CRLF )` and the CRLF of the body, RFC 9112 section 7.1.2.
    fn step_in_trailers(&mut self, byte: u8) -> Result<State, Refusal> {
        if byte != b'\r' && byte != b'\n' {
            self.line_bytes += 1;
            if self.line_bytes > self.limits.header_size {
                return Err(Refusal::new(431, "a trailer field is too long"));
            }
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::BodyEnd),
            (State::TrailerStart, _) if field::is_token_byte(byte) => {
                self.line_bytes = 1;
                self.trailers += 1;
                if self.trailers > self.limits.headers_max() {
                    return Err(Refusal::new(431, "too many trailer fields"));
                }
                self.trailer_name = TrailerName::default();
                self.trailer_name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, _) if field::is_token_byte(byte) => {
                self.trailer_name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.trailer_name.is_forbidden() => Err(Refusal::bad(
                "a trailer field that is only allowed in the head",
            )),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, _) if field::is_field_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerEnd, b'\n') => {
                self.line_bytes = 0;
                Ok(State::TrailerStart)
            }
            (State::BodyEnd, b'\n') => Ok(State::Done),
            _ => Err(Refusal::bad("a trailer field is malformed")),
        }
    }
}

/// After an element of a size line: its end, or white space or a semicolon before the next.
fn after_element(byte: u8, otherwise: &'static str) -> Result<State, Refusal> {
    match byte {
        b'\r' => Ok(State::SizeEnd),
        b';' => Ok(State::ExtensionNameStart),
        b' ' | b'\t' => Ok(State::BeforeSemicolon),
        _ => Err(Refusal::bad(otherwise)),
    }
}

/// As many digits as fit in 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

const EXTENSION: &str = "a chunk extension is malformed";

/// The name of the current trailer field, as far as it can be a forbidden one.
#[derive(Debug, Default)]
struct TrailerName {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl TrailerName {
    /// One more than the longest forbidden name has.
    const BYTES_MAX: usize = 20;

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
            self.length += 1;
        }
    }

    fn is_forbidden(&self) -> bool {
        FORBIDDEN_TRAILERS.contains(&&self.bytes[..self.length])
    }
}

/// Fields that say where the message ends or goes, who sent it, how it is to be processed or what its content is:
/// RFC 9110 section 6.5.1.
const FORBIDDEN_TRAILERS: &[&[u8]] = &[
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"pragma",
    b"proxy-authorization",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_trailer_fits_in_the_remembered_name() {
        assert!(
            FORBIDDEN_TRAILERS
                .iter()
                .all(|name| name.len() < TrailerName::BYTES_MAX)
        );
    }

    #[test]
    fn a_name_that_only_begins_like_a_forbidden_one_is_allowed() {
        for (text, forbidden) in [
            ("HOST", true),
            ("host-name", false),
            ("Proxy-Authorization", true),
            ("Proxy-Authorization-Extra-Long", false),
        ] {
            let mut name = TrailerName::default();
            text.bytes().for_each(|byte| name.push(byte));
            assert_eq!(name.is_forbidden(), forbidden, "{text}");
        }
    }
}
