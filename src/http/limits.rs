//! How much a client may make us read and keep before it has said anything useful.

/// The most header fields a request may have, whatever the configuration says: room for them is set aside on the stack.
pub const HEADERS_MAX: usize = 512;

/// The longest head in bytes, whatever the configuration says. The product of the other limits can reach gigabytes.
pub const HEAD_BYTES_MAX: usize = 1 << 20;

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
    /// Bytes of a decoded body. Zero: no limit. A Content-Length beyond is refused at the head with 413.
    pub body: u64,
}

impl HeadLimits {
    /// How many fields may stand in a head.
    #[inline]
    pub fn headers_max(&self) -> usize {
        self.headers.min(HEADERS_MAX)
    }

    /// The longest head in bytes, from the first byte of the request line to its last CRLF. A read buffer of this size, plus
    /// two bytes for an empty line that may come first, always suffices.
    #[inline]
    pub fn head_bytes_max(&self) -> usize {
        let fields = self
            .headers_max()
            .saturating_mul(self.header_size.saturating_add(2));
        self.request_line
            .saturating_add(fields)
            .saturating_add(4)
            .min(HEAD_BYTES_MAX)
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

    #[test]
    fn a_head_is_bounded_by_its_lines_and_by_the_ceiling() {
        let small = HeadLimits {
            request_line: 100,
            headers: 10,
            header_size: 50,
            body: 0,
        };
        assert_eq!(small.head_bytes_max(), 100 + 10 * 52 + 4);
        let huge = HeadLimits {
            request_line: usize::MAX,
            headers: usize::MAX,
            header_size: usize::MAX,
            body: 0,
        };
        assert_eq!(huge.head_bytes_max(), HEAD_BYTES_MAX);
        assert_eq!(huge.headers_max(), HEADERS_MAX);
    }

    #[test]
    fn a_body_limit_of_zero_means_none() {
        let limits = HeadLimits {
            request_line: 0,
            headers: 0,
            header_size: 0,
            body: 0,
        };
        assert!(!limits.body_is_too_large(u64::MAX));
        assert!(HeadLimits { body: 10, ..limits }.body_is_too_large(11));
        assert!(!HeadLimits { body: 10, ..limits }.body_is_too_large(10));
    }
}
