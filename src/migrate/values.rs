//! Values as Gunicorn understands them: what a command line gives as text, a configuration file may give as itself.

use serde_json::Value as Json;

use super::{Given, Written};

/// Why a value cannot be carried over, in a sentence's words.
pub(super) type Obstacle = String;

pub(super) fn text(given: &Given) -> Result<String, Obstacle> {
    match &given.written {
        Written::Plain(Json::String(text)) => Ok(text.trim().to_owned()),
        Written::Plain(Json::Number(number)) => Ok(number.to_string()),
        _ => Err("it is no text".to_owned()),
    }
}

pub(super) fn number(given: &Given) -> Result<i64, Obstacle> {
    let number = match &given.written {
        Written::Plain(Json::Number(number)) => number.as_i64(),
        Written::Plain(Json::Bool(value)) => Some((*value).into()),
        Written::Plain(Json::String(text)) => integer(text.trim()),
        _ => None,
    };
    number.ok_or_else(|| "it is no whole number".to_owned())
}

/// As Python's `int(text, 0)` reads it, and octal with a leading 0 as Gunicorn's `umask` takes it.
fn integer(text: &str) -> Option<i64> {
    let digits = text.replace('_', "").to_lowercase();
    let radix =
        |prefix: &str, radix| Some(i64::from_str_radix(digits.strip_prefix(prefix)?, radix));
    let read = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8).filter(|_| digits.len() > 1))
        .unwrap_or_else(|| digits.parse());
    read.ok()
}

pub(super) fn switch(given: &Given) -> Result<bool, Obstacle> {
    match &given.written {
        Written::Plain(Json::Bool(value)) => Ok(*value),
        Written::Plain(Json::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Written::Plain(Json::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("it is neither True nor False".to_owned()),
    }
}

pub(super) fn words(given: &Given) -> Result<Vec<String>, Obstacle> {
    let split = |text: &str| -> Vec<String> {
        let words = text.split(',').map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    match &given.written {
        Written::Plain(Json::String(text)) => Ok(split(text)),
        Written::Plain(Json::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
            let texts = texts.ok_or_else(|| "it is no list of texts".to_owned())?;
            Ok(texts.into_iter().flat_map(split).collect())
        }
        _ => Err("it is no list of texts".to_owned()),
    }
}

/// What is set to Gunicorn's own default changes nothing, and is not worth a word.
pub(super) fn is_default(given: &Given) -> bool {
    match &given.written {
        Written::Plain(Json::Bool(value)) => {
            given.setting.default == if *value { "True" } else { "False" }
        }
        Written::Plain(Json::Number(number)) => given.setting.default == number.to_string(),
        Written::Plain(Json::String(text)) => {
            given.setting.default.trim_matches('\'') == text || given.setting.default == text
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, number) in [
            ("4", 4),
            ("0x10", 16),
            ("007", 7),
            ("0o22", 18),
            ("0", 0),
            ("1_000", 1000),
        ] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        assert_eq!(integer("many"), None);
    }
}
