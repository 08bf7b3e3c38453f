//! The four forms of a request target, RFC 9112 section 3.2.
//!
//! The bytes are known to be visible ASCII without `#` when they come here.

use super::{host, refusal::Refusal};

/// A target taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) path: &'a [u8],
    /// Without its question mark; empty if there is none.
    pub(super) query: &'a [u8],
    /// Only an absolute target has one.
    pub(super) authority: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    #[inline]
    pub(super) fn parse(method: &[u8], target: &'a [u8]) -> Result<Self, Refusal> {
        if target[0] == b'/' && method != b"CONNECT" {
            let (path, query) = split_query(target);
            return Ok(Self {
                path,
                query,
                authority: None,
            });
        }
        Self::parse_rare(method, target)
    }

    #[cold]
    fn parse_rare(method: &[u8], target: &'a [u8]) -> Result<Self, Refusal> {
        if method == b"CONNECT" {
            return Err(refuse_connect(target));
        }
        if target == b"*" {
            return match method {
                b"OPTIONS" => Ok(Self {
                    path: target,
                    query: &target[1..],
                    authority: None,
                }),
                _ => Err(Refusal::bad("the target `*` is for OPTIONS only")),
            };
        }
        Self::parse_absolute(target)
    }

    /// `http://host:port/path?query`, RFC 9112 section 3.2.2. Neither user names nor empty hosts are allowed: RFC 9110
    /// sections 4.2.1 and 4.2.4.
    fn parse_absolute(target: &'a [u8]) -> Result<Self, Refusal> {
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| {
                target
                    .get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
            .ok_or(Refusal::bad("the target is neither a path nor an http URI"))?;
        let (_, rest) = target.split_at(scheme.len());
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        if authority.is_empty() || !host::is_valid(authority) {
            return Err(Refusal::bad("the target's host is invalid"));
        }
        let (path, query) = split_query(path_and_query);
        // An empty path means the root: RFC 9110 section 4.2.3. A slash to point at stands before the authority.
        let path = if path.is_empty() {
            &target[scheme.len() - 1..scheme.len()]
        } else {
            path
        };
        Ok(Self {
            path,
            query,
            authority: Some(authority),
        })
    }
}

/// We are no proxy, so we know no resource for which CONNECT would be supported: RFC 9110 sections 9.3.6 and 15.6.2.
fn refuse_connect(target: &[u8]) -> Refusal {
    match host::has_port(target) && host::is_valid(target) {
        true => Refusal::new(501, "CONNECT is for proxies"),
        false => Refusal::bad("the target of CONNECT is not `host:port`"),
    }
}

#[inline]
fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        // At the end, so that it still points into the buffer.
        None => (target, &target[target.len()..]),
    }
}
