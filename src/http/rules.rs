//! What the fields of a request mean for the message and the connection.
//!
//! The fields are noted one by one while the head is read, and settled when its last one is known. Of all fields only these
//! matter here: Host, Content-Length, Transfer-Encoding, Connection, Upgrade, Expect, and Content-Type for not being given twice.

use super::{
    field, host,
    limits::HeadLimits,
    parts::{Framing, Version},
    refusal::Refusal,
};

/// What was noted so far.
#[derive(Default)]
pub(super) struct Rules<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    codings: Codings,
    close: bool,
    keep_alive: bool,
    asks_for_websocket: bool,
    expect_continue: bool,
    /// The first fault. It is kept until all lines are known to be well-formed, so that it does not depend on how the head
    /// was cut into reads which of two faults is told.
    fault: Option<Refusal>,
}

/// The ruling.
pub(super) struct Ruling<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) framing: Framing,
    pub(super) persistent: bool,
    pub(super) expect_continue: bool,
}

impl<'a> Rules<'a> {
    #[inline]
    pub(super) fn note(&mut self, name: &[u8], value: &'a [u8]) {
        // The length tells most names apart before a byte is compared.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Host") => self.note_host(value),
            6 if name.eq_ignore_ascii_case(b"Expect") => self.note_expect(value),
            7 if name.eq_ignore_ascii_case(b"Upgrade") => self.note_upgrade(value),
            10 if name.eq_ignore_ascii_case(b"Connection") => self.note_connection(value),
            12 if name.eq_ignore_ascii_case(b"Content-Type") => self.note_content_type(value),
            14 if name.eq_ignore_ascii_case(b"Content-Length") => self.note_content_length(value),
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => self.codings.note(value),
            _ => {}
        }
    }

    /// RFC 9112 section 3.2: a second Host, or one that is none, is refused whatever the version.
    fn note_host(&mut self, value: &'a [u8]) {
        if self.host.replace(value).is_some() {
            self.blame(Refusal::bad("more than one Host"));
        } else if !host::is_valid(value) {
            self.blame(Refusal::bad("the value of Host is invalid"));
        }
    }

    /// RFC 9110 section 10.1.1: 100-continue is the only expectation there is, without case.
    fn note_expect(&mut self, value: &[u8]) {
        for expectation in field::elements(value).filter(|element| !element.is_empty()) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expect_continue = true;
            } else {
                self.blame(Refusal::new(417, "the expectation is not 100-continue"));
            }
        }
    }

    /// RFC 9110 section 7.6.1: a list, over all its fields, without case.
    fn note_connection(&mut self, value: &[u8]) {
        for option in field::elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// There are proxies that pass on whatever comes behind such a request, as if a WebSocket was granted whatever we answer.
    /// So no request may follow it: it would have been looked at by nobody, and would be believed like all that the proxy sends.
    fn note_upgrade(&mut self, value: &[u8]) {
        self.asks_for_websocket |=
            field::elements(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    }

    /// A second Content-Type lets a filter and the application see different bodies; Gunicorn refuses it too.
    fn note_content_type(&mut self, value: &'a [u8]) {
        if self.content_type.replace(value).is_some() {
            self.blame(Refusal::bad("more than one Content-Type"));
        }
    }

    /// RFC 9112 section 6.3 allows to merge equal values; we refuse them, because whoever sent them may not have agreed.
    fn note_content_length(&mut self, value: &'a [u8]) {
        if self.content_length.replace(value).is_some() {
            self.blame(Refusal::bad("more than one Content-Length"));
        }
    }

    #[cold]
    fn blame(&mut self, refusal: Refusal) {
        self.fault.get_or_insert(refusal);
    }

    #[inline]
    pub(super) fn settle(
        self,
        version: Version,
        limits: &HeadLimits,
    ) -> Result<Ruling<'a>, Refusal> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.host.is_none() && version == Version::Http11 {
            return Err(Refusal::bad("Host is missing"));
        }
        let framing = self.framing(version, limits)?;
        Ok(Ruling {
            host: self.host,
            framing,
            persistent: !self.close
                && !self.asks_for_websocket
                && (version == Version::Http11 || self.keep_alive),
            // RFC 9110 section 10.1.1: an HTTP/1.0 client does not wait, and no one needs to without a body.
            expect_continue: self.expect_continue
                && version == Version::Http11
                && !framing.is_empty(),
        })
    }

    /// RFC 9112 section 6.3, with the choice to refuse wherever it leaves one.
    #[inline]
    fn framing(&self, version: Version, limits: &HeadLimits) -> Result<Framing, Refusal> {
        match (self.content_length, self.codings.is_given) {
            (None, false) => Ok(Framing::None),
            (Some(value), false) => parse_length(value, limits).map(Framing::Length),
            (Some(_), true) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
            (None, true) if version == Version::Http10 => {
                Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"))
            }
            (None, true) => self.codings.settle(),
        }
    }
}

/// A number that does not fit in 64 bits is malformed by no rule, only larger than any body.
fn parse_length(value: &[u8], limits: &HeadLimits) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::bad("Content-Length is not a number"));
    }
    field::parse_content_length(value)
        .filter(|&length| !limits.body_is_too_large(length))
        .ok_or(Refusal::BODY_TOO_LARGE)
}

/// The transfer codings of all Transfer-Encoding fields, RFC 9112 section 6.1 and 7.
#[derive(Default)]
struct Codings {
    is_given: bool,
    is_malformed: bool,
    chunked: u32,
    others: u32,
    /// Others that are in no registry, so that we cannot even say whether they delimit the body.
    unknown: u32,
    ends_chunked: bool,
}

impl Codings {
    #[cold]
    fn note(&mut self, value: &[u8]) {
        self.is_given = true;
        for coding in field::elements(value) {
            self.ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
            let name = coding
                .split(|&byte| byte == b';')
                .next()
                .map_or(&b""[..], field::trim);
            self.is_malformed |= !field::is_token(name)
                || (!self.ends_chunked && name.eq_ignore_ascii_case(b"chunked"));
            if self.ends_chunked {
                self.chunked += 1;
            } else {
                self.others += 1;
                self.unknown += u32::from(!is_registered(name));
            }
        }
    }

    /// A single `chunked` and nothing else: we decode no other coding, and an application must not get an encoded body
    /// that it takes for the content.
    #[cold]
    fn settle(&self) -> Result<Framing, Refusal> {
        match self {
            Self {
                is_malformed: true, ..
            } => Err(Refusal::bad("Transfer-Encoding is malformed")),
            Self {
                chunked: 1,
                others: 0,
                ..
            } => Ok(Framing::Chunked),
            Self { chunked: 2.., .. } => Err(Refusal::bad("chunked more than once")),
            Self {
                chunked: 1,
                ends_chunked: false,
                ..
            } => Err(Refusal::bad("a transfer coding after chunked")),
            Self {
                chunked: 0,
                unknown: 0,
                ..
            } => Err(Refusal::bad("a transfer coding without chunked")),
            _ => Err(Refusal::new(501, "the transfer coding is not supported")),
        }
    }
}

/// The codings of the IANA registry, and `identity`, which was one.
fn is_registered(coding: &[u8]) -> bool {
    [
        &b"gzip"[..],
        b"x-gzip",
        b"deflate",
        b"compress",
        b"x-compress",
        b"identity",
    ]
    .iter()
    .any(|known| coding.eq_ignore_ascii_case(known))
}
