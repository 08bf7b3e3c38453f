//! The pieces of a request head.

/// A place in the connection's buffer, as offsets from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The place of `part` in `buffer`, of which it is a piece.
    #[inline]
    pub(super) fn of(part: &[u8], buffer: &[u8]) -> Self {
        let start = part.as_ptr().addr() - buffer.as_ptr().addr();
        // A head is at most `HeadLimits::head` long, 1 MiB as configured, and it begins within two bytes of the buffer's start.
        Self {
            start: start as u32,
            end: (start + part.len()) as u32,
        }
    }

    /// The piece of the buffer that it was made for.
    #[inline]
    pub fn bytes(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line, in the order of arrival. The value has no space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

/// Of a request; any other is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

impl Version {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How the end of the body is found, RFC 9112 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: there is no body.
    #[default]
    None,
    /// This many bytes, which may be none.
    Length(u64),
    /// Chunks, the last of which is empty.
    Chunked,
}

impl Framing {
    /// Whether the request certainly has no byte of body.
    #[inline]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}
