//! Gunicorn's command line, read by its own rules: those of Python's argparse.

use serde_json::Value;

use super::{Given, Layer, Written};
use crate::config::gunicorn::{SETTINGS, Setting, Takes};

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) layer: Layer,
    /// The first word that is no flag.
    pub(super) app: Option<String>,
}

/// Reads the words after `gunicorn`. The error is a sentence.
pub(super) fn parse(words: &[String], origin: &str) -> Result<CommandLine, String> {
    let mut read = CommandLine::default();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            read.app = read.app.or_else(|| words.next().map(str::to_owned));
            break;
        }
        let Some((setting, attached)) = flag(word)? else {
            read.app.get_or_insert_with(|| word.to_owned());
            continue;
        };
        let is_value = |next: &&str| !next.starts_with('-') || *next == "-";
        let value = match (setting.takes, attached) {
            (Takes::Nothing, None) => None,
            (Takes::Nothing, Some(_)) => return Err(format!("`{word}` takes no value")),
            (_, Some(value)) => Some(value),
            (Takes::Maybe(otherwise), None) => {
                Some(words.next_if(is_value).unwrap_or(otherwise).to_owned())
            }
            (Takes::One | Takes::Many, None) => {
                let next = words.next_if(is_value);
                Some(
                    next.ok_or_else(|| format!("a value is missing after `{word}`"))?
                        .to_owned(),
                )
            }
        };
        read.layer.add(setting, value, origin);
    }
    Ok(read)
}

/// The setting of a flag, and the value that is attached to it: `--bind=X`, `-bX`.
fn flag(word: &str) -> Result<Option<(&'static Setting, Option<String>)>, String> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        return Ok(Some((long_flag(&format!("--{name}"))?, value)));
    }
    let mut letters = word.chars();
    if letters.next() != Some('-') {
        return Ok(None);
    }
    let Some(letter) = letters.next() else {
        return Ok(None); // `-` alone is a word.
    };
    let setting = SETTINGS
        .iter()
        .find(|setting| setting.has_flag(&format!("-{letter}")))
        .ok_or_else(|| format!("`-{letter}` is no flag of Gunicorn 27"))?;
    let rest = letters.as_str();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((setting, (!rest.is_empty()).then(|| rest.to_owned()))))
}

/// argparse takes the beginning of a flag for the flag, where there is only one such.
fn long_flag(flag: &str) -> Result<&'static Setting, String> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.has_flag(flag)) {
        return Ok(setting);
    }
    let begins = |setting: &&Setting| setting.flags.split(' ').any(|own| own.starts_with(flag));
    let mut candidates = SETTINGS.iter().filter(begins);
    match (candidates.next(), candidates.next()) {
        (Some(setting), None) => Ok(setting),
        (Some(one), Some(other)) => Err(format!(
            "`{flag}` may be `{}` or `{}`",
            one.flags, other.flags
        )),
        (None, _) => Err(format!("`{flag}` is no flag of Gunicorn 27")),
    }
}

impl Layer {
    /// Adds one use of a flag; without a value it is a switch.
    fn add(&mut self, setting: &'static Setting, value: Option<String>, origin: &str) {
        let value = match (setting.takes, value) {
            (Takes::Many, Some(value)) => match self.written(setting) {
                Some(Written::Plain(Value::Array(items))) => {
                    items.push(value.into());
                    return;
                }
                _ => Value::Array(vec![value.into()]),
            },
            (_, Some(value)) => value.into(),
            (_, None) => true.into(),
        };
        self.set(Given {
            setting,
            written: Written::Plain(value),
            origin: origin.to_owned(),
            computed: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The app, and settings by name.
    type Read = (Option<String>, Vec<(String, Value)>);

    fn read(line: &str) -> Result<Read, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let read = parse(&words, "command line")?;
        let plain = |given: Given| match given.written {
            Written::Plain(value) => (given.setting.name.to_owned(), value),
            other => panic!("{other:?}"),
        };
        Ok((read.app, read.layer.into_iter().map(plain).collect()))
    }

    #[test]
    fn flags_are_read_in_all_their_forms() {
        let (app, given) = read(
            "-w4 --bind=a:1 -b b:2 -k gevent --log-file - --preload --keep 5 mysite.wsgi ignored",
        )
        .unwrap();
        assert_eq!(app.as_deref(), Some("mysite.wsgi"));
        let given = serde_json::Value::Object(given.into_iter().collect());
        assert_eq!(
            given,
            serde_json::json!({
                "bind": ["a:1", "b:2"],
                "errorlog": "-",
                "keepalive": "5",
                "preload_app": true,
                "worker_class": "gevent",
                "workers": "4",
            })
        );
    }

    #[test]
    fn an_optional_value_is_taken_when_it_is_there() {
        let (app, given) = read("--proxy-protocol v2 app").unwrap();
        assert_eq!(app.as_deref(), Some("app"));
        assert_eq!(given, [("proxy_protocol".to_owned(), "v2".into())]);
        let (_, given) = read("app --proxy-protocol --preload").unwrap();
        assert!(given.contains(&("proxy_protocol".to_owned(), "auto".into())));
    }

    #[test]
    fn what_gunicorn_would_refuse_is_refused() {
        assert!(read("--nonsense app").unwrap_err().contains("no flag"));
        assert!(read("-w").unwrap_err().contains("missing after `-w`"));
        assert!(read("--limit app").unwrap_err().contains("may be"));
        assert!(read("--preload=yes").unwrap_err().contains("no value"));
    }
}
