//! The flags: Gunicorn's names and letters for its everyday settings, each for a key of the file, and `--set` for all
//! the others. Their help is the key's manual.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::{Setting, default_text, manual};

struct Flag {
    letter: Option<char>,
    long: &'static str,
    /// Other names that Gunicorn takes for it.
    alias: Option<&'static str>,
    key: &'static str,
    takes: Takes,
}

enum Takes {
    /// One value; the name it has in the help.
    One(&'static str),
    /// As many as are given.
    Many(&'static str),
    /// One value, and its name in the help; where none follows, the other.
    Maybe(&'static str, &'static str),
    /// None: being there means this value.
    Nothing(&'static str),
}

use Takes::{Many, Maybe, Nothing, One};

const fn flag(letter: char, long: &'static str, key: &'static str, takes: Takes) -> Flag {
    Flag {
        letter: Some(letter),
        ..long_flag(long, key, takes)
    }
}

const fn long_flag(long: &'static str, key: &'static str, takes: Takes) -> Flag {
    Flag {
        letter: None,
        long,
        alias: None,
        key,
        takes,
    }
}

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag('b', "bind", "bind", Many("ADDRESS")),
    flag('w', "workers", "workers", One("NUMBER")),
    flag('k', "worker-class", "worker_class", One("CLASS")),
    long_flag("threads", "threads", One("NUMBER")),
    flag('t', "timeout", "timeouts.worker", One("TIME")),
    long_flag("graceful-timeout", "timeouts.graceful", One("TIME")),
    long_flag("keep-alive", "timeouts.keepalive", One("TIME")),
    long_flag("worker-connections", "limits.connections", One("NUMBER")),
    long_flag("max-requests", "limits.max_requests", One("NUMBER")),
    long_flag("max-requests-jitter", "limits.max_requests_jitter", One("NUMBER")),
    long_flag("limit-request-line", "limits.request_line", One("SIZE")),
    long_flag("limit-request-fields", "limits.headers", One("NUMBER")),
    Flag { alias: Some("limit-request-field_size"), ..long_flag("limit-request-field-size", "limits.header_size", One("SIZE")) },
    long_flag("preload", "preload", Nothing("true")),
    long_flag("reload", "reload.code", Nothing("**/*.py")),
    long_flag("reload-extra-file", "reload.code", Many("PATTERN")),
    long_flag("asgi-loop", "loop", One("LOOP")),
    long_flag("asgi-lifespan", "lifespan", One("WHEN")),
    long_flag("websocket-max-message-size", "websocket.message_size", One("SIZE")),
    long_flag("root-path", "root_path", One("PATH")),
    long_flag("control-socket", "admin.socket", One("PATH")),
    long_flag("no-control-socket", "admin.socket", Nothing("off")),
    long_flag("statsd-host", "statsd.host", One("ADDRESS")),
    long_flag("statsd-prefix", "statsd.prefix", One("TEXT")),
    long_flag("dogstatsd-tags", "statsd.tags", Many("TAG")),
    long_flag("python", "python", One("PATH")),
    long_flag("chdir", "chdir", One("DIRECTORY")),
    long_flag("pythonpath", "python_path", Many("DIRECTORY")),
    flag('p', "pid", "pidfile", One("FILE")),
    flag('u', "user", "user", One("USER")),
    flag('g', "group", "group", One("GROUP")),
    flag('m', "umask", "umask", One("OCTAL")),
    flag('n', "name", "proc_name", One("NAME")),
    long_flag("backlog", "backlog", One("NUMBER")),
    long_flag("access-logfile", "log.access", One("FILE")),
    Flag { alias: Some("log-file"), ..long_flag("error-logfile", "log.error", One("FILE")) },
    long_flag("log-level", "log.level", One("LEVEL")),
    long_flag("access-logformat", "log.format", One("FORMAT")),
    long_flag("capture-output", "log.capture_output", Nothing("true")),
    Flag { alias: Some("log-config-json"), ..long_flag("log-config", "log.python_config", One("FILE")) },
    long_flag("log-syslog-prefix", "log.identifier", One("NAME")),
    long_flag("log-syslog-facility", "log.syslog_facility", One("FACILITY")),
    long_flag("forwarded-allow-ips", "proxy.forwarded_allow_ips", Many("NETWORK")),
    long_flag("header-map", "proxy.header_map", One("WHAT")),
    long_flag("proxy-protocol", "proxy.protocol", Maybe("VERSION", "auto")),
    long_flag("proxy-allow-from", "proxy.protocol_allow_ips", Many("NETWORK")),
];

/// All flags that make settings, and the app.
pub(super) fn arguments() -> impl Iterator<Item = Arg> {
    let app = Arg::new("app").value_name("APP").help(help("app"));
    let env = Arg::new("env")
        .short('e')
        .long("env")
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .value_parser(entry)
        .help(help("env"));
    let set = Arg::new("set")
        .long("set")
        .value_name("KEY=VALUE")
        .action(ArgAction::Append)
        .value_parser(entry)
        .help("Any key of the file, such as `timeouts.header=30s`; lists have commas");
    [app]
        .into_iter()
        .chain(FLAGS.iter().map(argument))
        .chain([env, set])
}

/// The ids of all of [`arguments`].
pub(super) fn names() -> Vec<String> {
    arguments()
        .map(|argument| argument.get_id().to_string())
        .collect()
}

fn argument(flag: &Flag) -> Arg {
    let argument = Arg::new(flag.long)
        .help_heading(heading(flag.key))
        .long(flag.long)
        .short(flag.letter)
        .aliases(flag.alias)
        .value_parser(value_parser!(String));
    let argument = match flag.takes {
        One(name) => argument.value_name(name).allow_negative_numbers(true),
        Many(name) => argument.value_name(name).action(ArgAction::Append),
        Maybe(name, otherwise) => argument
            .value_name(name)
            .num_args(0..=1)
            .default_missing_value(otherwise),
        Nothing(value) => {
            let argument = argument
                .action(ArgAction::SetTrue)
                .value_parser(value_parser!(bool));
            return argument.help(match value {
                "true" => help(flag.key),
                "off" => format!("No such socket: sets `{}` to `off`", flag.key),
                value => format!(
                    "Roll in new code when a file changes: sets `{}` to `{value}`",
                    flag.key
                ),
            });
        }
    };
    argument.help(help(flag.key))
}

/// What the key is about.
fn heading(key: &str) -> &'static str {
    match key.split_once('.').map_or(key, |(table, _)| table) {
        "bind" | "backlog" | "proxy" | "root_path" | "websocket" => "Network",
        "workers" | "worker_class" | "threads" | "preload" | "reload" | "loop" | "lifespan" => {
            "Workers"
        }
        "timeouts" | "limits" => "Timeouts and limits",
        "log" | "statsd" => "Logs and metrics",
        _ => "Process",
    }
}

/// The manual's first sentence and the default.
fn help(key: &str) -> String {
    let manual = manual(key).unwrap_or_default();
    let paragraph = manual.split("\n\n").next().unwrap_or_default();
    let sentence = paragraph
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    match default_text(key) {
        Some(default) => format!("{sentence} [default: {default}]"),
        None => sentence.to_owned(),
    }
}

/// A pair of texts around the first `=`.
fn entry(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name, `=` and a value are needed".to_owned()),
    }
}

/// What was typed, from the weakest to the strongest: `--set` wins over the flag of the same key.
pub(super) fn settings(matches: &ArgMatches) -> Vec<Setting> {
    let app = matches
        .get_one::<String>("app")
        .map(|app| setting("app", app, String::new()));
    let env = pairs(matches, "env")
        .map(|(name, value)| setting(&format!("env.{name}"), value, format!("--env {name}=")));
    let set =
        pairs(matches, "set").map(|(key, value)| setting(key, value, format!("--set {key}=")));
    app.into_iter()
        .chain(flags(matches))
        .chain(env)
        .chain(set)
        .collect()
}

/// Of two flags for one key the later one of the table wins, but lists add to each other: `--reload`, `--reload-extra-file`.
fn flags(matches: &ArgMatches) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for flag in FLAGS {
        let Some(value) = typed(flag, matches) else {
            continue;
        };
        match settings.iter_mut().find(|other| other.key == flag.key) {
            Some(other) if matches!(flag.takes, Many(_)) => {
                other.value = format!("{},{value}", other.value);
            }
            Some(other) => other.value = value,
            None => settings.push(setting(flag.key, &value, format!("--{} ", flag.long))),
        }
    }
    settings
}

fn typed(flag: &Flag, matches: &ArgMatches) -> Option<String> {
    match flag.takes {
        Nothing(value) => matches.get_flag(flag.long).then(|| value.to_owned()),
        Many(_) => {
            let values: Vec<&str> = matches
                .get_many::<String>(flag.long)?
                .map(String::as_str)
                .collect();
            Some(values.join(","))
        }
        One(_) | Maybe(..) => {
            let value = matches.get_one::<String>(flag.long)?;
            // Gunicorn's word for the stream.
            Some(match (flag.key, value.as_str()) {
                ("log.access", "-") => "stdout".to_owned(),
                ("log.error", "-") => "stderr".to_owned(),
                _ => value.clone(),
            })
        }
    }
}

fn pairs<'m>(
    matches: &'m ArgMatches,
    name: &str,
) -> impl Iterator<Item = (&'m String, &'m String)> {
    let pairs = matches
        .get_many::<(String, String)>(name)
        .unwrap_or_default();
    pairs.map(|(name, value)| (name, value))
}

fn setting(key: &str, value: &str, lead: String) -> Setting {
    Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        lead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::command::command,
        config::{gunicorn::SETTINGS, keys},
    };

    fn typed_as(line: &str) -> Vec<(String, String)> {
        let matches = command().try_get_matches_from(line.split(' ')).unwrap();
        let settings = settings(&matches).into_iter();
        settings
            .map(|setting| (setting.key, setting.value))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_flag_is_for_a_key_that_exists() {
        assert!(
            FLAGS
                .iter()
                .all(|flag| keys().iter().any(|key| key == flag.key))
        );
    }

    #[test]
    fn every_flag_of_gunicorn_whose_key_is_here_is_here_too() {
        let command = command();
        let run = command.find_subcommand("run").unwrap();
        for setting in SETTINGS.iter().filter(|setting| setting.key().is_some()) {
            for flag in setting.flags.split_whitespace() {
                let is_known = run.get_arguments().any(|argument| {
                    let long = flag.strip_prefix("--");
                    let names = argument.get_long_and_visible_aliases().unwrap_or_default();
                    let hidden = argument.get_all_aliases().unwrap_or_default();
                    let has_letter = argument
                        .get_short()
                        .is_some_and(|letter| flag == format!("-{letter}"));
                    has_letter
                        || long.is_some_and(|long| names.contains(&long) || hidden.contains(&long))
                });
                assert!(is_known, "{flag}");
            }
        }
    }

    #[test]
    fn patterns_of_code_add_to_each_other() {
        assert_eq!(
            typed_as("rgunicorn app --reload-extra-file a.txt --reload --reload-extra-file b/*"),
            owned(&[("app", "app"), ("reload.code", "**/*.py,a.txt,b/*")])
        );
    }

    #[test]
    fn a_gunicorn_user_types_as_ever() {
        assert_eq!(
            typed_as(
                "rgunicorn mysite.wsgi -b 127.0.0.1:8000 -b [::1]:8000 -w 4 -k gthread --access-logfile - -t 30"
            ),
            owned(&[
                ("app", "mysite.wsgi"),
                ("bind", "127.0.0.1:8000,[::1]:8000"),
                ("workers", "4"),
                ("worker_class", "gthread"),
                ("timeouts.worker", "30"),
                ("log.access", "stdout"),
            ])
        );
    }

    #[test]
    fn set_reaches_every_key_and_comes_last() {
        assert_eq!(
            typed_as(
                "rgunicorn app --set workers=3 -w 2 -e A=1=2 --preload --set timeouts.header=5s"
            ),
            owned(&[
                ("app", "app"),
                ("workers", "2"),
                ("preload", "true"),
                ("env.A", "1=2"),
                ("workers", "3"),
                ("timeouts.header", "5s"),
            ])
        );
    }
}
