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
        let value = match (setting.takes, attached) {
            (Takes::Nothing, None) => None,
            (Takes::Nothing, Some(_)) => return Err(format!("`{word}` takes no value")),
            (_, Some(value)) => Some(value),
            (Takes::Maybe(otherwise), None) => Some(
                words
                    .next_if(|next| is_value(next))
                    .unwrap_or(otherwise)
                    .to_owned(),
            ),
            (Takes::One | Takes::Many, None) => {
                let next = words.next_if(|next| is_value(next));
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

/// argparse takes no flag for a value, but a number below zero, and what has a space and so can be no flag.
fn is_value(word: &str) -> bool {
    let after = word.strip_prefix('-');
    after
        .is_none_or(|after| after.is_empty() || after.parse::<f64>().is_ok() || after.contains(' '))
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
            (_, None) => (setting.flags != format!("--no-{}", setting.name)).into(),
        };
        self.set(Given::plain(setting, value, origin));
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
    fn what_begins_with_a_dash_may_be_a_value() {
        let (_, given) = read("--backlog -1 --access-logformat -").unwrap();
        assert!(given.contains(&("backlog".to_owned(), "-1".into())));
        let words = ["--access-logformat", "-%(h)s %(r)s", "app"].map(str::to_owned);
        assert_eq!(
            parse(&words, "command line").unwrap().app.as_deref(),
            Some("app")
        );
        assert!(read("--access-logformat -%(h)s").is_err());
    }

    #[test]
    fn a_switch_that_turns_off_is_false() {
        let (_, given) = read("--no-sendfile --no-control-socket").unwrap();
        assert!(given.contains(&("sendfile".to_owned(), false.into())));
        assert!(given.contains(&("control_socket_disable".to_owned(), true.into())));
    }

    #[test]
    fn what_gunicorn_would_refuse_is_refused() {
        assert!(read("--nonsense app").unwrap_err().contains("no flag"));
        assert!(read("-w").unwrap_err().contains("missing after `-w`"));
        assert!(read("--limit app").unwrap_err().contains("may be"));
        assert!(read("--preload=yes").unwrap_err().contains("no value"));
    }
}
