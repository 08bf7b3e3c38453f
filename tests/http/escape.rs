//! Bytes as the corpus writes them.

use std::fmt::Write as _;

/// What [`crate::corpus::unescape`] reads; runs of 64 and more are abbreviated.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = match run[0] {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            0 => "\\0".to_owned(),
            b'\\' => "\\\\".to_owned(),
            visible @ b' '..=b'~' => char::from(visible).to_string(),
            other => format!("\\x{other:02x}"),
        };
        match run.len() {
            length @ 64.. => write!(text, "\\{{{byte}*{length}}}").unwrap(),
            length => text.push_str(&byte.repeat(length)),
        }
    }
    text
}
