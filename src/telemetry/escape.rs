//! Bytes of strangers in a log: nothing a client sends may end a line, close a quote, or move a terminal's cursor.

/// For text formats: `"` and `\` with a backslash, everything but printable ASCII as `\xNN` (nginx's way).
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    // Looks at all bytes, so that the compiler can look at many at once; nearly always they are plain.
    if bytes
        .iter()
        .fold(true, |plain, byte| plain & is_plain(*byte))
    {
        return out.extend_from_slice(bytes);
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        out.extend_from_slice(&rest[..at]);
        escape_byte(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// As [`text()`], and spaces too: for a field that stands without quotes.
pub(super) fn word(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.split_inclusive(|byte| *byte == b' ') {
        match part.split_last() {
            Some((b' ', before)) => {
                text(before, out);
                out.extend_from_slice(b"\\x20");
            }
            _ => text(part, out),
        }
    }
}

/// A percent-encoded path, decoded, then as [`text()`].
pub(super) fn decoded_path(path: &[u8], out: &mut Vec<u8>) {
    decode(path, |part| text(part, out));
}

/// A percent-encoded path, decoded, then as [`json_content`].
pub(super) fn decoded_json_path(path: &[u8], out: &mut Vec<u8>) {
    // Whole, as a character may be encoded in several parts.
    let mut decoded = Vec::with_capacity(path.len());
    decode(path, |part| decoded.extend_from_slice(part));
    json_content(&decoded, out);
}

/// Hands over the parts of a percent-encoded path, decoded.
fn decode(path: &[u8], mut take: impl FnMut(&[u8])) {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        take(&rest[..at]);
        match (hex(rest.get(at + 1)), hex(rest.get(at + 2))) {
            (Some(high), Some(low)) => {
                take(&[high << 4 | low]);
                rest = &rest[at + 3..];
            }
            _ => {
                take(b"%");
                rest = &rest[at + 1..];
            }
        }
    }
    take(rest);
}

/// A JSON string with its quotes. What is not UTF-8 becomes U+FFFD, as JSON cannot carry it.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    json_content(bytes, out);
    out.push(b'"');
}

/// What stands between the quotes of a JSON string.
pub(super) fn json_content(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        json_text(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    let special = |character: char| character.is_control() || matches!(character, '"' | '\\');
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        // Every special character is below U+00A0.
        let code = rest[at..].chars().next().map_or(0, |c| c as u32 as u8);
        if matches!(code, b'"' | b'\\') {
            out.extend_from_slice(&[b'\\', code]);
        } else {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex_digits(code));
        }
        rest = &rest[at + if code < 0x80 { 1 } else { 2 }..];
    }
    out.extend_from_slice(rest.as_bytes());
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    if matches!(byte, b'"' | b'\\') {
        out.extend_from_slice(&[b'\\', byte]);
    } else {
        out.extend_from_slice(b"\\x");
        out.extend_from_slice(&hex_digits(byte));
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    let value = char::from(*digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(escape: fn(&[u8], &mut Vec<u8>), bytes: &[u8], expected: &str) {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_client_cannot_begin_a_line_or_close_a_quote() {
        check(text, b"a\" 200 \\\r\nb", r#"a\" 200 \\\x0D\x0Ab"#);
        check(text, b"\x1b[2J \xc3\xa9", r"\x1B[2J \xC3\xA9");
    }

    #[test]
    fn a_word_has_no_spaces() {
        check(word, b" ann lee", r"\x20ann\x20lee");
        check(word, b"ann", "ann");
        check(word, b"", "");
    }

    #[test]
    fn a_path_is_decoded_before_it_is_escaped() {
        check(decoded_path, b"/a%20b%0a%22%c3%A9", r#"/a b\x0A\"\xC3\xA9"#);
        check(decoded_path, b"/100%/%zz%4", "/100%/%zz%4");
    }

    #[test]
    fn a_json_string_is_read_back_as_it_was() {
        let original = "plain \"quoted\" \\ \n\r\t\0\u{7f}\u{9b}\u{2028} é 🐍";
        let mut out = Vec::new();
        json(original.as_bytes(), &mut out);
        assert_eq!(
            serde_json::from_slice::<String>(&out).unwrap(),
            original,
            "{}",
            String::from_utf8_lossy(&out)
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_become_the_replacement_character() {
        check(json, b"a\xffb", "\"a\u{FFFD}b\"");
    }
}
