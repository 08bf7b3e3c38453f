//! What differs between two configurations, and the least that makes the one into the other.
//!
//! `KEYS` is the only place that says how a key is applied; the schema takes it from here.

mod show;

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::Config;
use show::*;

/// How a change of one key is applied, from the least work to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// What runs takes it up: the arbiter with its next event, workers between two requests.
    Live,
    /// Workers of the same generation are started or retired.
    Scale,
    /// A new generation is rolled in.
    Roll,
    /// New sockets are opened, then a new generation is rolled in; the old sockets close with the old generation.
    Rebind,
}

/// What has to be done for a list of changes. Each includes the work of those before it: a new generation starts
/// with the new number of workers, and the arbiter always goes by the new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    Nothing,
    Live,
    Scale,
    Roll,
    Rebind,
}

/// One key with its old and new value as they would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub key: String,
    pub old: String,
    pub new: String,
    pub apply: Apply,
}

struct Key {
    name: &'static str,
    apply: Apply,
    same: fn(&Config, &Config) -> bool,
    show: fn(&Config) -> String,
}

/// A key has the name of its field, unless another one stands before it.
macro_rules! key {
    ($apply:ident, $first:ident $(. $rest:ident)*, $show:expr) => {
        key!($apply, concat!(stringify!($first) $(, ".", stringify!($rest))*), $first $(. $rest)*, $show)
    };
    ($apply:ident, $name:expr, $($field:ident).+, $show:expr) => {
        Key {
            name: $name,
            apply: Apply::$apply,
            same: |old, new| old.$($field).+ == new.$($field).+,
            show: |config| $show(&config.$($field).+),
        }
    };
}

const KEYS: &[Key] = &[
    key!(Roll, app, |app: &super::AppRef| app.text.clone()),
    key!(Rebind, bind, list),
    key!(Scale, workers, u16::to_string),
    key!(Roll, threads, u16::to_string),
    key!(Roll, worker_class, word),
    key!(Roll, "loop", event_loop, word),
    key!(Roll, lifespan, word),
    key!(Roll, root_path, String::clone),
    key!(Roll, preload, bool::to_string),
    key!(Roll, merge_memory, bool::to_string),
    key!(Roll, python, optional_path),
    key!(Roll, chdir, path),
    key!(Roll, python_path, paths),
    key!(Roll, user, optional),
    key!(Roll, group, optional),
    key!(Roll, umask, |umask: &Option<u32>| umask
        .map_or_else(unset, |bits| octal(&bits))),
    key!(Live, pidfile, optional_path),
    key!(Roll, proc_name, String::clone),
    key!(Rebind, backlog, u32::to_string),
    key!(Rebind, socket_mode, octal),
    key!(Roll, env, |_: &_| String::new()),
    key!(Live, timeouts.boot, time),
    key!(Live, timeouts.worker, time),
    key!(Live, timeouts.request, time),
    key!(Live, timeouts.graceful, time),
    key!(Live, timeouts.keepalive, time),
    key!(Live, timeouts.header, time),
    key!(Live, timeouts.body, time),
    key!(Live, timeouts.write, time),
    key!(Live, limits.request_line, size32),
    key!(Live, limits.headers, u32::to_string),
    key!(Live, limits.header_size, size32),
    key!(Live, limits.head, size32),
    key!(Live, limits.body, size),
    key!(Live, limits.connections, u32::to_string),
    key!(Live, limits.max_requests, u64::to_string),
    key!(Live, limits.max_requests_jitter, u64::to_string),
    key!(Live, limits.worker_memory, size),
    key!(Live, log.access, log_target),
    key!(Live, log.error, log_target),
    key!(Live, log.level, word),
    key!(Live, log.format, log_format),
    key!(Live, log.error_format, word),
    key!(Live, log.exclude, list),
    key!(Live, log.request_id, bool::to_string),
    key!(Live, log.request_id_header, String::clone),
    key!(Live, log.request_id_response, bool::to_string),
    key!(Live, log.slow, time),
    key!(Live, log.syslog_facility, word),
    key!(Live, log.identifier, String::clone),
    key!(Roll, log.python_config, optional_path),
    key!(Roll, log.capture_output, bool::to_string),
    key!(Live, reload.watch, bool::to_string),
    key!(Live, reload.code, list),
    key!(Live, reload.ignore, list),
    key!(Live, reload.touch, optional_path),
    key!(Live, reload.debounce, time),
    key!(Live, reload.surge, u16::to_string),
    key!(Live, reload.health_check, health_check),
    key!(Live, reload.probation, time),
    key!(Roll, websocket.message_size, size),
    key!(Roll, websocket.ping_interval, time),
    key!(Roll, websocket.ping_timeout, time),
    key!(Roll, websocket.compression, bool::to_string),
    key!(Roll, proxy.forwarded_allow_ips, trusted),
    key!(Roll, proxy.forwarded, word),
    key!(Roll, proxy.forwarded_host, bool::to_string),
    key!(Roll, proxy.scheme_headers, scheme_headers),
    key!(Roll, proxy.header_map, word),
    key!(Roll, proxy.protocol, word),
    key!(Roll, proxy.protocol_allow_ips, trusted),
    key!(Roll, hooks.post_fork, optional_hook),
    key!(Roll, hooks.worker_init, optional_hook),
    key!(Roll, hooks.worker_exit, optional_hook),
    key!(Roll, hooks.worker_abort, optional_hook),
    key!(Roll, hooks.child_exit, optional_hook),
    key!(Roll, hooks.pre_request, optional_hook),
    key!(Roll, hooks.post_request, optional_hook),
    key!(Roll, hooks.when_ready, optional_hook),
    key!(Roll, hooks.on_exit, optional_hook),
    key!(Live, hooks.commands.when_ready, command),
    key!(Live, hooks.commands.reload_done, command),
    key!(Live, hooks.commands.reload_failed, command),
    key!(Live, hooks.commands.rolled_back, command),
    key!(Live, hooks.commands.worker_died, command),
    key!(Live, hooks.commands.child_exit, command),
    key!(Live, hooks.commands.on_exit, command),
    key!(Live, statsd.host, optional_text),
    key!(Live, statsd.prefix, String::clone),
    key!(Live, statsd.tags, list),
    key!(Live, admin.socket, admin_socket),
    key!(Live, admin.address, optional_text),
    key!(Live, admin.token, hidden),
    key!(Live, admin.token_file, optional_path),
    key!(Live, admin.open, list),
];

/// Every key whose value differs, in the order of the manual. Environment variables are named, their values are not.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    KEYS.iter()
        .filter(|key| !(key.same)(old, new))
        .flat_map(|key| match key.name {
            "env" => env_changes(old, new, key.apply),
            name => vec![Change {
                key: name.to_owned(),
                old: (key.show)(old),
                new: (key.show)(new),
                apply: key.apply,
            }],
        })
        .collect()
}

/// Every key with its value and how a change of it is applied, in the order of the manual. Environment variables are named,
/// their values are not.
pub(super) fn values(config: &Config) -> Vec<(String, String, Apply)> {
    let rows = KEYS.iter().flat_map(|key| match key.name {
        "env" => {
            let hidden = |name| (format!("env.{name}"), "(hidden)".to_owned(), key.apply);
            config.env.keys().map(hidden).collect()
        }
        name => vec![(name.to_owned(), (key.show)(config), key.apply)],
    });
    rows.collect()
}

fn env_changes(old: &Config, new: &Config, apply: Apply) -> Vec<Change> {
    let shown = |value: Option<&String>| value.map_or_else(unset, |_| "(hidden)".to_owned());
    let names: BTreeSet<&String> = old.env.keys().chain(new.env.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.env.get(*name) != new.env.get(*name))
        .map(|name| Change {
            key: format!("env.{name}"),
            old: shown(old.env.get(name)),
            new: shown(new.env.get(name)),
            apply,
        })
        .collect()
}

impl Plan {
    /// As much as the change that asks for the most.
    pub fn of(changes: &[Change]) -> Self {
        let most = changes.iter().map(|change| change.apply).max();
        match most {
            None => Self::Nothing,
            Some(Apply::Live) => Self::Live,
            Some(Apply::Scale) => Self::Scale,
            Some(Apply::Roll) => Self::Roll,
            Some(Apply::Rebind) => Self::Rebind,
        }
    }
}

impl Apply {
    /// For a key of the file, such as `timeouts.keepalive`.
    pub fn of(key: &str) -> Option<Self> {
        KEYS.iter()
            .find(|known| known.name == key)
            .map(|known| known.apply)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Scale => "scale",
            Self::Rebind => "rebind",
            Self::Roll => "roll",
        }
    }
}

/// `timeouts.graceful 30s -> 10s (live)`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            old,
            new,
            apply,
        } = self;
        write!(f, "{key} {old} -> {new} ({})", apply.name())
    }
}

/// All changes on one line, for the log.
pub fn summary(changes: &[Change]) -> String {
    changes
        .iter()
        .map(Change::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LiveConfig, Setting, Sources, keys, load, machine::test_machine};

    fn config(settings: &[(&str, &str)]) -> Config {
        let setting = |(key, value): &(&str, &str)| Setting {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            lead: String::new(),
        };
        let sources = Sources {
            flags: [("app", "app")]
                .iter()
                .chain(settings)
                .map(setting)
                .collect(),
            ..Sources::default()
        };
        load(&sources, &test_machine(2)).unwrap().config
    }

    fn told(old: &[(&str, &str)], new: &[(&str, &str)]) -> (String, Plan) {
        let changes = changes(&config(old), &config(new));
        (summary(&changes), Plan::of(&changes))
    }

    #[test]
    fn every_key_of_the_schema_has_its_row_and_every_row_its_key() {
        let mut rows: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        rows.sort_unstable();
        let mut known: Vec<&str> = keys().iter().map(String::as_str).collect();
        known.sort_unstable();
        assert_eq!(rows, known);
    }

    #[test]
    fn what_concerns_connections_logs_and_reloads_needs_no_new_process() {
        let tables = ["timeouts.", "limits.", "log.", "reload."];
        // They are about what a process does before it serves.
        let others = ["log.python_config", "log.capture_output"];
        for key in keys() {
            let is_other = others.contains(&key.as_str());
            if tables.iter().any(|table| key.starts_with(table)) && !is_other {
                assert_eq!(Apply::of(key), Some(Apply::Live), "{key}");
            }
        }
    }

    #[test]
    fn what_a_worker_takes_up_is_all_that_is_live_but_what_is_the_arbiters_alone() {
        let live = KEYS.iter().filter(|key| key.apply == Apply::Live);
        let names: Vec<&str> = live.map(|key| key.name).collect();
        let document = serde_json::to_value(LiveConfig::of(&config(&[]))).unwrap();
        let has = |name: &&&str| match name.split_once('.') {
            Some((table, key)) => document[table].get(key).is_some(),
            None => false,
        };
        let arbiters = ["pidfile", "hooks.commands.", "statsd.", "admin."];
        let is_arbiters = |name: &&&str| arbiters.iter().any(|start| name.starts_with(start));
        let lost = names.iter().filter(|name| !has(name) && !is_arbiters(name));
        assert_eq!(lost.collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn no_change_asks_for_nothing() {
        assert_eq!(told(&[], &[]), (String::new(), Plan::Nothing));
        assert_eq!(
            told(&[("workers", "5")], &[]).1,
            Plan::Nothing,
            "auto is 5 on 2 processors"
        );
    }

    #[test]
    fn a_line_of_the_log_tells_each_key_with_its_old_and_new_value() {
        let (line, plan) = told(
            &[("workers", "2")],
            &[("workers", "4"), ("timeouts.graceful", "10")],
        );
        assert_eq!(
            line,
            "workers 2 -> 4 (scale), timeouts.graceful 30s -> 10s (live)"
        );
        assert_eq!(plan, Plan::Scale);
    }

    #[test]
    fn the_key_that_asks_for_the_most_decides() {
        assert_eq!(told(&[], &[("timeouts.boot", "90")]).1, Plan::Live);
        assert_eq!(
            told(&[], &[("workers", "9"), ("preload", "true")]).1,
            Plan::Roll
        );
        let (line, plan) = told(&[], &[("bind", ":80,unix:a.sock"), ("preload", "true")]);
        assert_eq!(
            line,
            "bind 127.0.0.1:8000 -> [0.0.0.0:80, unix:/home/me/a.sock] (rebind), preload false -> true (roll)"
        );
        assert_eq!(plan, Plan::Rebind);
    }

    #[test]
    fn values_of_the_environment_stay_secret() {
        let (line, plan) = told(
            &[("env.OLD", "hush"), ("env.SAME", "1"), ("env.KEY", "hush")],
            &[("env.NEW", "hush"), ("env.SAME", "1"), ("env.KEY", "hush!")],
        );
        assert_eq!(
            line,
            "env.KEY (hidden) -> (hidden) (roll), env.NEW (unset) -> (hidden) (roll), env.OLD (hidden) -> (unset) (roll)"
        );
        assert_eq!(plan, Plan::Roll);
    }

    #[test]
    fn every_kind_of_value_is_shown_as_it_would_be_written() {
        let (line, _) = told(
            &[],
            &[
                ("umask", "027"),
                ("socket_mode", "666"),
                ("python", "python3.12"),
                ("worker_class", "gthread"),
                ("limits.body", "10485760"),
                ("log.access", "a.log"),
                ("log.format", "%(h)s"),
                ("proxy.forwarded_allow_ips", "*"),
            ],
        );
        assert_eq!(
            line,
            "worker_class auto -> gthread (roll), python (unset) -> python3.12 (roll), umask (unset) -> 027 (roll), \
             socket_mode 660 -> 666 (rebind), limits.body 100MiB -> 10MiB (live), \
             log.access stdout -> /home/me/a.log (live), log.format combined -> \"%(h)s\" (live), \
             proxy.forwarded_allow_ips [127.0.0.1/32, ::1/128] -> * (roll)"
        );
    }
}
