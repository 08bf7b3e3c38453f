//! Who a request is for: `uri-host [ ":" port ]`, RFC 9110 section 7.2 and RFC 3986 section 3.2.2.

use std::net::Ipv6Addr;

use super::{byte_set::ByteSet, percent};

/// The bytes of a registered name but for percent signs: `unreserved` and `sub-delims` of RFC 3986.
static NAME: ByteSet = ByteSet::letters_digits_and(b"-._~!$&'()*+,;=");

/// Whether the text is a host, with or without a port. The empty text is one: clients send an empty Host when their target
/// has no authority, RFC 9112 section 3.2. A port without a host is not.
#[inline]
pub(super) fn is_valid(text: &[u8]) -> bool {
    let name = text
        .iter()
        .position(|&byte| !NAME.has(byte))
        .unwrap_or(text.len());
    match &text[name..] {
        [] => true,
        [b':', port @ ..] => name > 0 && is_port(port),
        _ => is_valid_rare(text),
    }
}

/// An address in brackets, or a name with percent signs.
#[cold]
fn is_valid_rare(text: &[u8]) -> bool {
    let (is_host, rest) = match text {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) => (is_ip_literal(&rest[..end]), &rest[end + 1..]),
            None => return false,
        },
        _ => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            (end > 0 && is_encoded_name(&text[..end]), &text[end..])
        }
    };
    is_host
        && match rest {
            [] => true,
            [b':', port @ ..] => is_port(port),
            _ => false,
        }
}

/// Whether a port is named, if only by its colon.
pub(super) fn has_port(text: &[u8]) -> bool {
    let name = text.iter().rposition(|&byte| byte == b']').unwrap_or(0);
    text[name..]
        .iter()
        .position(|&byte| byte == b':')
        .is_some_and(|colon| name + colon + 1 < text.len())
}

/// `port = *DIGIT`, and a number that a port can have.
fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
        && text
            .iter()
            .try_fold(0_u16, |port, digit| {
                port.checked_mul(10)?.checked_add(u16::from(digit - b'0'))
            })
            .is_some()
}

fn is_encoded_name(mut text: &[u8]) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b'%', ..] if percent::octet(text).is_some() => &text[3..],
            [byte, rest @ ..] if NAME.has(*byte) => rest,
            _ => return false,
        }
    }
}

/// What stands between brackets: an IPv6 address without zone, or `"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`.
fn is_ip_literal(text: &[u8]) -> bool {
    match text {
        [b'v' | b'V', rest @ ..] => {
            let Some(dot) = memchr::memchr(b'.', rest) else {
                return false;
            };
            let (version, address) = (&rest[..dot], &rest[dot + 1..]);
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && !address.is_empty()
                && address.iter().all(|&byte| NAME.has(byte) || byte == b':')
        }
        _ => std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_all_kinds_are_valid() {
        for text in [
            "",
            "localhost",
            "example.com",
            "EXAMPLE.com.",
            "a_b-c~d",
            "127.0.0.1:8000",
            "example.com:",
            "h:0",
            "h:65535",
            "[::1]",
            "[::1]:80",
            "[::ffff:192.0.2.1]:",
            "[v1.fe80::a+en1]",
            "caf%C3%A9.example",
            "a!$&'()*+,;=b",
        ] {
            assert!(is_valid(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_invalid() {
        for text in [
            " ",
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:80:90",
            ":80",
            ":",
            "a:65536",
            "a:-1",
            "a:+1",
            "[::1",
            "::1",
            "[]",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[v.x]",
            "[v1.]",
            "[vg.x]",
            "a%",
            "a%4",
            "a%zz",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "<a>",
            "é",
            "a\tb",
            "a\0b",
            "a[::1]",
        ] {
            assert!(!is_valid(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_port_is_told_from_the_colons_of_an_address() {
        assert!(has_port(b"h:1") && has_port(b"[::1]:1"));
        assert!(!has_port(b"h") && !has_port(b"h:") && !has_port(b"[::1]") && !has_port(b""));
    }
}
