//! Bytes that a corpus writes as text.

/// The notation is told in README.md.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let text = text.replace('\n', "");
    assert!(text.is_ascii(), "a byte above 127 is written as \\xHH");
    let mut bytes = Vec::new();
    let mut rest = text.as_str();
    while let Some(byte) = rest.bytes().next() {
        let escape = rest.get(1..).unwrap_or_default();
        let (piece, length) = match (byte, escape.bytes().next()) {
            (b'\\', Some(b'r')) => (vec![b'\r'], 2),
            (b'\\', Some(b'n')) => (vec![b'\n'], 2),
            (b'\\', Some(b't')) => (vec![b'\t'], 2),
            (b'\\', Some(b'0')) => (vec![0], 2),
            (b'\\', Some(b'\\')) => (vec![b'\\'], 2),
            (b'\\', Some(b'x')) => (vec![u8::from_str_radix(&escape[1..3], 16).unwrap()], 4),
            (b'\\', Some(b'{')) => {
                let end = escape.find('}').unwrap();
                let (byte, count) = escape[1..end].split_once('*').unwrap();
                (
                    byte.repeat(count.parse().unwrap()).into_bytes(),
                    1 + end + 1,
                )
            }
            (b'\\', other) => panic!("unknown escape {other:?}"),
            (byte, _) => (vec![byte], 1),
        };
        bytes.extend(piece);
        rest = &rest[length..];
    }
    bytes
}
