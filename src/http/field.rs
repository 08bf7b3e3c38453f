//! The grammar of field names and values, for what clients send and for what applications answer.

use super::byte_set::ByteSet;

/// The bytes of `tchar`, RFC 9110 section 5.6.2.
static TOKEN: ByteSet = ByteSet::letters_digits_and(b"!#$%&'*+-.^_`|~");

/// Whether a byte may stand in a token.
#[inline]
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN.has(byte)
}

/// Whether this is a method or a field name: `token = 1*tchar`, RFC 9110 section 5.6.2.
#[inline]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a byte may stand in a field value: anything visible, obs-text, space and tab.
#[inline]
pub fn is_field_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether this may stand after a field's colon: no control character but HTAB. Empty values are allowed, and so is obs-text.
///
/// RFC 9110 section 5.5.
#[inline]
pub fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit the compiler tests sixteen bytes at a time; values are short and nearly always good.
    !bytes
        .iter()
        .fold(false, |bad, &byte| bad | !is_field_value_byte(byte))
}

/// Whether a field of a response belongs to the connection, so that an application must not set it.
///
/// RFC 9110 section 7.6.1 and PEP 3333, "Other HTTP Features".
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 => is(b"TE"),
        7 => is(b"Trailer") || is(b"Upgrade"),
        10 => is(b"Connection") || is(b"Keep-Alive"),
        16 => is(b"Proxy-Connection"),
        17 => is(b"Transfer-Encoding"),
        18 => is(b"Proxy-Authenticate"),
        19 => is(b"Proxy-Authorization"),
        _ => false,
    }
}

/// Takes a status as applications write it, `200 OK`, apart: the code, and the reason phrase, which may be empty.
///
/// `None` unless it is three digits from 100 up, alone or followed by a space and a reason without control characters.
/// RFC 9112 section 4; Gunicorn accepts the bare number too.
pub fn parse_status(status: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = status.split_at_checked(3)?;
    let code = digits.iter().try_fold(0, |code, digit| {
        digit
            .is_ascii_digit()
            .then(|| code * 10 + u16::from(digit - b'0'))
    })?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] if is_field_value(reason) => reason,
        _ => return None,
    };
    (code >= 100).then_some((code, reason))
}

/// The number that a Content-Length holds: `1*DIGIT`, RFC 9110 section 8.6, with no sign, list or space. `None` if it is
/// anything else or does not fit.
pub fn parse_content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

/// The value without the spaces and tabs around it: `OWS`, RFC 9110 section 5.6.3.
#[inline]
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The elements of a comma-separated list, RFC 9110 section 5.6.1, empty ones included.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_only_the_bytes_of_the_rfc() {
        let allowed =
            b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for byte in 0..=255 {
            assert_eq!(is_token(&[byte]), allowed.contains(&byte), "byte {byte:#x}");
        }
        assert!(!is_token(b""));
        assert!(!is_token(b"X Y"));
    }

    #[test]
    fn a_value_has_no_control_character_but_tab() {
        for byte in 0..=255 {
            let is_control = byte < 0x20 || byte == 0x7f;
            assert_eq!(
                is_field_value(&[b'a', byte, b'b']),
                !is_control || byte == b'\t',
                "byte {byte:#x}"
            );
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn applications_cannot_set_what_belongs_to_the_connection() {
        for name in [
            "connection",
            "Keep-Alive",
            "TE",
            "trailer",
            "TRANSFER-ENCODING",
            "Upgrade",
            "Proxy-Authenticate",
            "proxy-connection",
        ] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in [
            "Content-Length",
            "Date",
            "Server",
            "Te-st",
            "Trailers",
            "Connections",
        ] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_status_is_three_digits_and_a_clean_reason() {
        assert_eq!(parse_status(b"200 OK"), Some((200, &b"OK"[..])));
        assert_eq!(parse_status(b"200 "), Some((200, &b""[..])));
        assert_eq!(parse_status(b"204"), Some((204, &b""[..])));
        assert_eq!(
            parse_status(b"404 Nicht gefunden"),
            Some((404, &b"Nicht gefunden"[..]))
        );
        for bad in [
            "",
            "20",
            "2000 OK",
            "200OK",
            "abc x",
            "099 x",
            "+20 x",
            "200 a\r\nSet-Cookie: x",
            " 200 OK",
        ] {
            assert_eq!(parse_status(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_content_length_is_digits_and_fits() {
        assert_eq!(parse_content_length(b"0"), Some(0));
        assert_eq!(
            parse_content_length(b"18446744073709551615"),
            Some(u64::MAX)
        );
        for bad in [
            "",
            "18446744073709551616",
            "+1",
            "-1",
            "1 ",
            "1,1",
            "0x1",
            "1.0",
        ] {
            assert_eq!(parse_content_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
