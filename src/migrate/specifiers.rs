//! Specifiers of systemd, such as `%h`: while a command is looked at they are written like variables that are not set, `${%h}`.

/// `%%` is a per cent sign, and `%i` and its like are known to systemd alone.
pub(super) fn hidden(command: &str) -> String {
    let mut text = String::new();
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek().copied()) {
            ('%', Some('%')) => {
                letters.next();
                text.push('%');
            }
            ('%', Some(specifier)) if specifier.is_ascii_alphabetic() => {
                letters.next();
                text.push_str(&format!("${{%{specifier}}}"));
            }
            _ => text.push(letter),
        }
    }
    text
}

/// Whether some are in the text.
pub(super) fn are_in(text: &str) -> bool {
    text.contains("${%")
}

/// As a unit has it.
pub(super) fn restored(text: &str) -> String {
    let mut pieces = text.split("${%");
    let mut restored = pieces.next().unwrap_or_default().replace('%', "%%");
    for piece in pieces {
        let (specifier, rest) = piece.split_once('}').unwrap_or((piece, ""));
        restored.push_str(&format!("%{specifier}{}", rest.replace('%', "%%")));
    }
    restored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hidden_can_be_restored() {
        let unit = "%h/bin/run --format '%%(h)s' ${PORT} %i";
        let text = hidden(unit);
        assert_eq!(text, "${%h}/bin/run --format '%(h)s' ${PORT} ${%i}");
        assert!(are_in(&text) && !are_in("${PORT} 100%"));
        assert_eq!(restored(&text), unit);
    }
}
