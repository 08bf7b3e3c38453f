//! A text that nobody is shown.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::{layer::steps, schema};

/// Neither `Debug` nor a list of changes shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// From now on it is not shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether it is the same text. Takes as long for a text of the same length that is nearly right as for one that is
    /// all wrong, so that nobody finds it letter by letter.
    pub fn is(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own.iter().zip(other).fold(0, |sum, (ours, theirs)| {
            std::hint::black_box(sum | (ours ^ theirs))
        });
        own.len() == other.len() && difference == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Whether the value at a JSON pointer is for nobody's eyes: the token, a variable of the app, or what may have been meant
/// as either under a name that is unknown.
pub(super) fn is_secret(pointer: &str) -> bool {
    let path = steps(pointer);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let schema = schema::schema();
    let is_known = |path: &[&str]| schema::node(&schema, path.iter().copied()).is_some();
    match &path[..] {
        ["env", ..] | ["admin", "token"] => true,
        known if is_known(known) => false,
        ["admin", ..] => true,
        // Such as `raw_env = ["PASSWORD=…"]`, or `env = { PASSWORD = "…" }` below the header of another table.
        [.., name] => name.contains("token") || !is_known(&path[..path.len() - 1]),
        [] => false,
    }
}

/// Stars in the place of a piece of the text. All other bytes and all lines stay where they are.
pub(super) fn cover(text: &mut String, piece: Range<usize>) {
    let star = |byte| if byte == b'\n' { '\n' } else { '*' };
    let stars: String = text[piece.clone()].bytes().map(star).collect();
    text.replace_range(piece, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_the_token_and_what_may_be_either_are_secret() {
        for secret in [
            "/env",
            "/env/PASSWORD",
            "/env/0",
            "/admin/token",
            "/admin/tokn",
            "/token",
            "/admin_token",
            "/raw_env/0",
            "/environment/PASSWORD",
            "/log/env/PASSWORD",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in [
            "",
            "/workers",
            "/wrokers",
            "/bind/0",
            "/admin/socket",
            "/admin/token_file",
            "/limits/heders",
            "/proxy/scheme_headers/X-Forwarded-Proto",
        ] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn what_is_covered_keeps_its_length_and_its_lines() {
        let mut text = "a = 'wörd\nx' # b".to_owned();
        cover(&mut text, 4..13);
        assert_eq!(text, "a = ******\n** # b");
    }

    #[test]
    fn it_is_compared_and_not_shown() {
        let secret = Secret::new("hush-hush".to_owned());
        assert!(secret.is(b"hush-hush"));
        for wrong in ["", "hush-hus", "hush-hush!", "hush-hash"] {
            assert!(!secret.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{secret:?}"), "(hidden)");
    }
}
