//! A text that nobody is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

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
