//! Variables of the shell in a command that no shell has read yet.

/// What remains of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expanded {
    /// There were no variables.
    AsItIs,
    /// All of them had a default: `${PORT:-8000}`.
    ByDefaults(String),
    /// One has none.
    Unknown,
}

/// Replaces `${NAME:-default}` and finds `$NAME` and `${NAME}`.
pub(super) fn expand(word: &str) -> Expanded {
    let mut text = String::new();
    let mut rest = word;
    let mut has_any = false;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let default = braced.and_then(|(inner, tail)| {
            let (_, default) = inner.split_once(":-").or_else(|| inner.split_once('-'))?;
            Some((default, tail))
        });
        match default {
            Some((default, tail)) => {
                text.push_str(default);
                rest = tail;
                has_any = true;
            }
            None if braced.is_some() || after.starts_with(is_name) => return Expanded::Unknown,
            None => {
                text.push('$');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    match has_any {
        true => Expanded::ByDefaults(text),
        false => Expanded::AsItIs,
    }
}

/// Whether the word is this variable, with or without a default.
pub(super) fn is_only(word: &str, name: &str) -> bool {
    let Some(word) = word.strip_prefix('$') else {
        return false;
    };
    let inner = word
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'));
    let own = inner.unwrap_or(word);
    own.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']))
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_taken_and_variables_without_are_unknown() {
        let by_defaults = |text: &str| Expanded::ByDefaults(text.to_owned());
        assert_eq!(expand("0.0.0.0:${PORT:-8000}"), by_defaults("0.0.0.0:8000"));
        assert_eq!(expand("${A-x}/${B:-y}"), by_defaults("x/y"));
        for word in ["$PORT", "0.0.0.0:$PORT", "${PORT}", "${A:-1}$B"] {
            assert_eq!(expand(word), Expanded::Unknown, "{word}");
        }
        for word in ["plain", "5$", "a$ b", "%(h)s"] {
            assert_eq!(expand(word), Expanded::AsItIs, "{word}");
        }
    }

    #[test]
    fn a_variable_alone_is_recognised() {
        assert!(
            is_only("$PORT", "PORT")
                && is_only("${PORT}", "PORT")
                && is_only("${PORT:-80}", "PORT")
        );
        assert!(
            !is_only("$PORTS", "PORT") && !is_only("PORT", "PORT") && !is_only("$A$PORT", "PORT")
        );
    }
}
