//! The body of a request: from framed bytes to content.

use super::{chunked::Chunked, limits::HeadLimits, parts::Framing, refusal::Refusal};

/// Decodes one body, piece by piece, in order. It keeps no content.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of content so far.
    received: u64,
}

#[derive(Debug)]
enum State {
    Length { remaining: u64 },
    Chunked(Chunked),
}

/// What one call to [`BodyDecoder::decode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Decoded {
    /// Bytes of the input that belong to the body and are done with. Less than all of them only if the body is complete:
    /// the rest is the next request.
    pub consumed: usize,
    /// Whether the body has ended.
    pub complete: bool,
}

impl BodyDecoder {
    /// A decoder for the body that follows a head. Of the limits, those for the body and for trailer fields bear on it.
    pub fn new(framing: Framing, limits: &HeadLimits) -> Self {
        let state = match framing {
            Framing::None => State::Length { remaining: 0 },
            Framing::Length(length) => State::Length { remaining: length },
            Framing::Chunked => State::Chunked(Chunked::new(limits)),
        };
        Self { state, received: 0 }
    }

    /// Takes the next bytes of the connection and gives the content among them to `sink`, in no, one or several slices.
    pub fn decode(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Decoded, Refusal> {
        let consumed = match &mut self.state {
            State::Length { remaining } => {
                let taken = usize::try_from(*remaining)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                if taken > 0 {
                    sink(&input[..taken]);
                }
                *remaining -= taken as u64;
                self.received += taken as u64;
                taken
            }
            State::Chunked(chunked) => {
                let received = &mut self.received;
                chunked.decode(input, |data: &[u8]| {
                    *received += data.len() as u64;
                    sink(data);
                })?
            }
        };
        Ok(Decoded {
            consumed,
            complete: self.is_complete(),
        })
    }

    /// Whether the whole body was decoded. If the connection ends before, the body is truncated and must go to no one.
    #[inline]
    pub fn is_complete(&self) -> bool {
        match &self.state {
            State::Length { remaining } => *remaining == 0,
            State::Chunked(chunked) => chunked.is_complete(),
        }
    }

    /// Bytes of content so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of content to come, if that is known: how much room to reserve.
    pub fn remaining(&self) -> Option<u64> {
        match &self.state {
            State::Length { remaining } => Some(*remaining),
            State::Chunked(chunked) => chunked.is_complete().then_some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        request_line: 100,
        headers: 10,
        header_size: 100,
        head: 1000,
        body: 10,
    };

    fn decode(decoder: &mut BodyDecoder, input: &[u8]) -> (Result<Decoded, Refusal>, Vec<u8>) {
        let mut content = Vec::new();
        let decoded = decoder.decode(input, |data| content.extend_from_slice(data));
        (decoded, content)
    }

    #[test]
    fn a_request_without_a_body_is_complete_at_once() {
        for framing in [Framing::None, Framing::Length(0)] {
            let mut decoder = BodyDecoder::new(framing, &LIMITS);
            assert!(decoder.is_complete());
            assert_eq!(
                decode(&mut decoder, b"GET"),
                (
                    Ok(Decoded {
                        consumed: 0,
                        complete: true
                    }),
                    vec![]
                )
            );
        }
    }

    #[test]
    fn a_body_of_known_length_takes_its_bytes_and_no_more() {
        let mut decoder = BodyDecoder::new(Framing::Length(5), &LIMITS);
        assert_eq!(
            decode(&mut decoder, b"hel"),
            (
                Ok(Decoded {
                    consumed: 3,
                    complete: false
                }),
                b"hel".to_vec()
            )
        );
        assert_eq!(
            (decoder.is_complete(), decoder.remaining()),
            (false, Some(2))
        );
        assert_eq!(
            decode(&mut decoder, b"loGET"),
            (
                Ok(Decoded {
                    consumed: 2,
                    complete: true
                }),
                b"lo".to_vec()
            )
        );
        assert_eq!(decoder.received(), 5);
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_line() {
        let mut decoder = BodyDecoder::new(Framing::Chunked, &LIMITS);
        assert_eq!(
            decode(&mut decoder, b"5\r\nhello\r\n0\r\n").0,
            Ok(Decoded {
                consumed: 13,
                complete: false
            })
        );
        assert_eq!(decoder.remaining(), None);
        assert_eq!(
            decode(&mut decoder, b"\r\nGET").0,
            Ok(Decoded {
                consumed: 2,
                complete: true
            })
        );
        assert_eq!((decoder.received(), decoder.remaining()), (5, Some(0)));
    }

    #[test]
    fn a_chunk_beyond_the_limit_is_refused_before_its_data() {
        let mut decoder = BodyDecoder::new(Framing::Chunked, &LIMITS);
        assert!(decode(&mut decoder, b"a\r\n0123456789\r\n").0.is_ok());
        assert_eq!(
            decode(&mut decoder, b"1\r\n").0,
            Err(Refusal::BODY_TOO_LARGE)
        );
    }

    #[test]
    fn chunk_extensions_may_be_as_large_as_the_content_and_a_little_more() {
        let limits = HeadLimits { body: 0, ..LIMITS };
        let chunk = |size: usize, extension: usize| {
            let (extension, content) = ("e".repeat(extension), "c".repeat(size));
            format!("{size:x};{extension}\r\n{content}\r\n").into_bytes()
        };
        let chunks_until_refused = |size, extension| {
            let mut decoder = BodyDecoder::new(Framing::Chunked, &limits);
            let chunk = chunk(size, extension);
            (0..1_000).find(|_| decode(&mut decoder, &chunk).0.is_err())
        };
        assert_eq!(chunks_until_refused(1, 1_016), Some(16));
        assert_eq!(chunks_until_refused(900, 1_000), Some(175));
        assert_eq!(chunks_until_refused(1_002, 1_016), None);
        assert_eq!(chunks_until_refused(1, 14), None);
    }
}
