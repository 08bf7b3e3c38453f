//! Variables of the shell in a command that no shell has read yet.

use serde_json::Value as Json;

use super::{Given, Written, specifiers, translate::address, values::words};
use crate::config::gunicorn::Form;

/// Puts defaults in the place of variables. The error is a whole sentence: where else to say it.
pub(super) fn expand_defaults(given: &mut Given, comments: &mut Vec<String>) -> Result<(), String> {
    let Written::Plain(value) = &mut given.written else {
        return Ok(());
    };
    let texts: Vec<&mut Json> = match value {
        Json::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    };
    for value in texts {
        let Json::String(text) = value else { continue };
        match expand(text) {
            Expanded::AsItIs => {}
            // `PORT` counts for less than the file.
            Expanded::ByDefaults(_) if given.setting.form == Form::Bind => {
                return Err(unread(given));
            }
            Expanded::ByDefaults(expanded) => {
                comments.push(BY_DEFAULT.to_owned());
                *text = expanded;
            }
            Expanded::Unknown if is_of_platform(given.setting.name, text) => {
                return Err(
                    "Where the variable is set, it counts without being named here.".to_owned(),
                );
            }
            Expanded::Unknown => return Err(unread(given)),
        }
    }
    Ok(())
}

const BY_DEFAULT: &str = "The default that the command gave. Each key has a variable of its own that counts more, such as \
    RGUNICORN_WORKERS; WEB_CONCURRENCY does, too.";

/// What rgunicorn itself reads from the environment.
fn is_of_platform(name: &str, text: &str) -> bool {
    match name {
        "bind" => text
            .strip_prefix("0.0.0.0:")
            .is_some_and(|port| is_only(port, "PORT")),
        "workers" => is_only(text, "WEB_CONCURRENCY"),
        _ => false,
    }
}

/// Where to say what only a shell or systemd can read.
fn unread(given: &Given) -> String {
    let Some(key) = given.setting.key() else {
        return "There is no key for it, and no shell reads this file.".to_owned();
    };
    let mut values = words(given).unwrap_or_default();
    if given.setting.form == Form::Bind {
        values.iter_mut().for_each(|value| *value = address(value));
    }
    set_outside(&variable_of(key), &values.join(","))
}

/// The variable that stands for a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("RGUNICORN_{}", key.replace('.', "_").to_uppercase())
}

/// Whether a shell or systemd would put something else in its place.
pub(super) fn has_variable(word: &str) -> bool {
    expand(word) != Expanded::AsItIs
}

/// How to give a variable a value that only a shell or systemd can make.
pub(super) fn set_outside(variable: &str, value: &str) -> String {
    match specifiers::are_in(value) {
        true => format!(
            "No specifier means anything here. In the unit: Environment=\"{variable}={}\".",
            specifiers::restored(value)
        ),
        false => format!("No shell reads this file. In the command: {variable}=\"{value}\"."),
    }
}

/// What remains of a word.
#[derive(Debug, PartialEq, Eq)]
enum Expanded {
    /// There were no variables.
    AsItIs,
    /// All of them had a default: `${PORT:-8000}`.
    ByDefaults(String),
    /// One has none.
    Unknown,
}

/// Replaces `${NAME:-default}` and finds `$NAME` and `${NAME}`.
fn expand(word: &str) -> Expanded {
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
fn is_only(word: &str, name: &str) -> bool {
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
