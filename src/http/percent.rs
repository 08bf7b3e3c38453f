//! Percent-decoding of paths.

/// The path with its `%XX` replaced by the bytes that they stand for, RFC 3986 section 2.1.
///
/// A `%` without two hex digits after it stays as it is, as in Gunicorn. `scratch` is used, and the result points into it,
/// only if there is something to decode.
#[inline]
pub fn decode<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    match memchr::memchr(b'%', path) {
        None => path,
        Some(first) => decode_from(path, first, scratch),
    }
}

fn decode_from<'a>(path: &[u8], first: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    scratch.clear();
    scratch.extend_from_slice(&path[..first]);
    let mut rest = &path[first..];
    while let [byte, tail @ ..] = rest {
        rest = match octet(rest) {
            Some(octet) => {
                scratch.push(octet);
                &tail[2..]
            }
            None => {
                scratch.push(*byte);
                tail
            }
        };
    }
    scratch
}

/// The byte that a leading `%XX` stands for.
pub(super) fn octet(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(*high)? << 4 | digit(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &[u8], expected: &[u8]) {
        assert_eq!(decode(path, &mut b"left over".to_vec()), expected);
    }

    #[test]
    fn a_path_without_percent_signs_is_not_copied() {
        let mut scratch = Vec::new();
        assert_eq!(decode(b"/plain", &mut scratch), b"/plain");
        assert_eq!(scratch.capacity(), 0);
    }

    #[test]
    fn octets_are_decoded_once() {
        check(b"/%41%62c", b"/Abc");
        check(b"/caf%C3%a9/", "/café/".as_bytes());
        check(b"%2525", b"%25");
        check(b"/%00%ff", b"/\0\xff");
    }

    #[test]
    fn what_is_no_octet_stays() {
        check(b"/100%", b"/100%");
        check(b"/%4", b"/%4");
        check(b"/%zz%+1%%41", b"/%zz%+1%A");
    }
}
