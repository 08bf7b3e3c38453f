//! How much a client may make us read and keep before it has said anything useful.

/// The most header fields a request may have, whatever the configuration says: room for them is set aside on the stack.
pub const HEADERS_MAX: usize = 512;

/// The longest method in bytes. The longest registered one, UPDATEREDIRECTREF, has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// The longest chunk-size line in bytes, extensions included and CRLF not. Signatures of signed uploads need some 100.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// What the extensions of a body's chunks may take in bytes beyond as much as its content. Nobody is known to need more; without
/// a bound each byte of content could cost a line of [`CHUNK_LINE_BYTES_MAX`], and the limit of a body would be none.
pub const CHUNK_EXTENSIONS_BYTES_MAX: u64 = 16 * 1024;

/// The configured bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line without its CRLF. Beyond: 414.
    pub request_line: usize,
    /// Number of header fields, and of trailer fields. Beyond (or beyond [`HEADERS_MAX`]): 431.
    pub headers: usize,
    /// Bytes of one field line without its CRLF. Beyond: 431.
    pub header_size: usize,
    /// Bytes of the head, from the first one of the request line to its last CRLF. Beyond: 431. A read buffer of this size, plus
    /// two bytes for an empty line that may come first, always suffices.
    pub head: usize,
    /// Bytes of a decoded body. Zero: no limit. A Content-Length beyond is refused at the head with 413.
    pub body: u64,
}

impl HeadLimits {
    /// How many fields may stand in a head.
    #[inline]
    pub fn headers_max(&self) -> usize {
        self.headers.min(HEADERS_MAX)
    }

    /// Whether a body of this many bytes is more than allowed.
    #[inline]
    pub fn body_is_too_large(&self, bytes: u64) -> bool {
        self.body != 0 && bytes > self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: HeadLimits = HeadLimits {
        request_line: 0,
        headers: 0,
        header_size: 0,
        head: 0,
        body: 0,
    };

    #[test]
    fn there_are_never_more_fields_than_there_is_room_for() {
        let limits = |headers| HeadLimits { headers, ..NONE };
        assert_eq!(limits(10).headers_max(), 10);
        assert_eq!(limits(usize::MAX).headers_max(), HEADERS_MAX);
    }

    #[test]
    fn a_body_limit_of_zero_means_none() {
        let limits = NONE;
        assert!(!limits.body_is_too_large(u64::MAX));
        assert!(HeadLimits { body: 10, ..limits }.body_is_too_large(11));
        assert!(!HeadLimits { body: 10, ..limits }.body_is_too_large(10));
    }
}
