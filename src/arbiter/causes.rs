//! Errors in words.

use std::{error::Error, fmt::Write};

/// An error with its causes, but for those that it tells itself.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Unread {
        #[error("cannot be read")]
        Silent { source: io::Error },
        #[error("cannot be read: {source}")]
        Telling { source: io::Error },
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = || io::Error::other("no such disk");
        for error in [
            Unread::Silent { source: source() },
            Unread::Telling { source: source() },
        ] {
            assert_eq!(with_causes(&error), "cannot be read: no such disk");
        }
    }
}
