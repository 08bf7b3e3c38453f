//! A request with all that a handler or the guard may ask for.

use super::{link::DoorKind, query::Query};
use crate::http::{RequestHead, RequestTraits};

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: Query,
    /// Host and port that it is for.
    pub(super) host: String,
    /// What a browser says of the page that asks.
    pub(super) origin: Option<String>,
    /// The media types that the client prefers; empty when it does not say.
    pub(super) accept: String,
    /// The token of `Authorization: Bearer …`.
    pub(super) token: Option<Vec<u8>>,
    /// Where it came in.
    pub(super) door: DoorKind,
    pub(super) traits: RequestTraits,
}

impl Request {
    pub(super) fn new(head: &RequestHead, buffer: &[u8], door: DoorKind) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let field = |name: &str| {
            let mut fields = head.fields(buffer);
            let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
            found.map(|(_, value)| value)
        };
        Self {
            method: text(head.method(buffer)),
            path: text(head.path(buffer)),
            query: Query::parse(head.query(buffer)),
            host: text(head.host(buffer)),
            origin: field("origin").map(text),
            accept: field("accept").map(text).unwrap_or_default(),
            token: field("authorization").and_then(bearer).map(<[u8]>::to_vec),
            door,
            traits: RequestTraits {
                version: head.version,
                is_head: head.is_head(buffer),
                persistent: head.persistent,
            },
        }
    }

    /// The method by which the route is found: HEAD asks for what GET would give.
    pub(super) fn method(&self) -> &str {
        match self.method.as_str() {
            "HEAD" => "GET",
            method => method,
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| token.trim_ascii())
}
