//! Words of a command, written so that a shell or systemd reads them as what they are.

/// What has neither spaces nor quotes stays as it is, because variables and operators are to count; an assignment stays one.
pub(super) fn word(word: &str) -> String {
    let (name, value) = match assigned(word) {
        Some((name, value)) => (&word[..=name.len()], value),
        None => ("", word),
    };
    let has_signs =
        value.contains(|letter: char| letter.is_whitespace() || "'\"\\".contains(letter));
    match has_signs || word.is_empty() {
        true => name.to_owned() + &quoted(value, value.contains(['\'', '$'])),
        false => word.to_owned(),
    }
}

/// What a shell is given as one word. Its variables are that shell's.
pub(super) fn script(command: &str) -> String {
    quoted(command, command.contains('\''))
}

fn quoted(text: &str, is_double: bool) -> String {
    match is_double {
        true => format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")),
        false => format!("'{text}'"),
    }
}

/// The name and the value of `A=1`.
pub(super) fn assigned(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_name =
        name.chars().all(is_of_name) && !name.starts_with(|first: char| first.is_ascii_digit());
    (is_name && !name.is_empty()).then_some((name, value))
}

/// Whether it ends a command, or says where its output goes.
pub(super) fn is_operator(word: &str) -> bool {
    ends_command(word) || word.starts_with(['>', '<']) || word.starts_with("2>")
}

/// Whether another command follows.
pub(super) fn ends_command(word: &str) -> bool {
    matches!(word, "&&" | "||" | "|" | "&" | ";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_quoted_is_quoted() {
        for (text, written) in [
            ("plain-1.0/x:y", "plain-1.0/x:y"),
            ("2>&1", "2>&1"),
            ("&&", "&&"),
            ("${PORT:-80}", "${PORT:-80}"),
            ("A=x y", "A='x y'"),
            ("A=$X y", "A=\"$X y\""),
            ("it's", "\"it's\""),
            ("a \"b\"", "'a \"b\"'"),
            ("$A \"b\"", r#""$A \"b\"""#),
            ("srv;", "srv;"),
            ("a\\b", r"'a\b'"),
            ("", "''"),
            ("A=", "A="),
        ] {
            assert_eq!(word(text), written, "{text}");
        }
        assert_eq!(script("a b; $c"), "'a b; $c'");
        assert_eq!(script("A='x y' b"), "\"A='x y' b\"");
    }
}
