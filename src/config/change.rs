//! What differs between two configurations, and the least that makes the one into the other.
//!
//! `KEYS` is the only place that says how a key is applied; the schema takes it from here.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{
    Bind, Config, Trusted,
    resolved::{LogFormat, LogTarget},
    units::{Size, Time},
};

/// How a change of one key is applied; the later ones include the work of the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Apply {
    /// The arbiter alone acts on it, from the next event on.
    Live,
    /// Workers of the same generation are started or retired.
    Scale,
    /// New sockets are opened before a new generation is rolled in; the old ones close with the old generation.
    Rebind,
    /// A new generation is rolled in.
    Roll,
}

/// What has to be done for a list of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The number of workers changed.
    pub scale: bool,
    /// Sockets change. Implies `roll`.
    pub rebind: bool,
    /// A new generation is needed, which starts with the new number of workers.
    pub roll: bool,
    /// Something changed, be it only for the arbiter.
    pub live: bool,
}

/// One key with its old and new value as they would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
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

macro_rules! key {
    ($apply:ident, $name:literal, $($field:ident).+, $show:expr) => {
        Key {
            name: $name,
            apply: Apply::$apply,
            same: |old, new| old.$($field).+ == new.$($field).+,
            show: |config| $show(&config.$($field).+),
        }
    };
}

const KEYS: &[Key] = &[
    key!(Roll, "app", app, |app: &super::AppRef| app.text.clone()),
    key!(Rebind, "bind", bind, list),
    key!(Scale, "workers", workers, u16::to_string),
    key!(Roll, "threads", threads, u16::to_string),
    key!(Roll, "worker_class", worker_class, word),
    key!(Roll, "preload", preload, bool::to_string),
    key!(Roll, "python", python, optional_path),
    key!(Roll, "chdir", chdir, path),
    key!(Roll, "python_path", python_path, paths),
    key!(Roll, "user", user, optional),
    key!(Roll, "group", group, optional),
    key!(Roll, "umask", umask, |umask: &Option<u32>| umask
        .map_or_else(unset, |bits| octal(&bits))),
    key!(Live, "pidfile", pidfile, optional_path),
    key!(Roll, "proc_name", proc_name, String::clone),
    key!(Rebind, "backlog", backlog, u32::to_string),
    key!(Rebind, "socket_mode", socket_mode, octal),
    key!(Roll, "env", env, |_: &_| String::new()),
    key!(Live, "timeouts.boot", timeouts.boot, time),
    key!(Live, "timeouts.worker", timeouts.worker, time),
    key!(Roll, "timeouts.request", timeouts.request, time),
    key!(Live, "timeouts.graceful", timeouts.graceful, time),
    key!(Roll, "timeouts.keepalive", timeouts.keepalive, time),
    key!(Roll, "timeouts.header", timeouts.header, time),
    key!(Roll, "timeouts.body", timeouts.body, time),
    key!(Roll, "timeouts.write", timeouts.write, time),
    key!(Roll, "limits.request_line", limits.request_line, size32),
    key!(Roll, "limits.headers", limits.headers, u32::to_string),
    key!(Roll, "limits.header_size", limits.header_size, size32),
    key!(Roll, "limits.body", limits.body, size),
    key!(
        Roll,
        "limits.connections",
        limits.connections,
        u32::to_string
    ),
    key!(
        Roll,
        "limits.max_requests",
        limits.max_requests,
        u64::to_string
    ),
    key!(
        Roll,
        "limits.max_requests_jitter",
        limits.max_requests_jitter,
        u64::to_string
    ),
    key!(Live, "limits.worker_memory", limits.worker_memory, size),
    key!(Roll, "log.access", log.access, log_target),
    key!(Roll, "log.error", log.error, log_target),
    key!(Roll, "log.level", log.level, word),
    key!(Roll, "log.format", log.format, log_format),
    key!(Live, "reload.watch", reload.watch, bool::to_string),
    key!(Live, "reload.code", reload.code, list),
    key!(Live, "reload.debounce", reload.debounce, time),
    key!(Live, "reload.surge", reload.surge, u16::to_string),
    key!(
        Roll,
        "proxy.forwarded_allow_ips",
        proxy.forwarded_allow_ips,
        trusted
    ),
    key!(
        Roll,
        "proxy.scheme_headers",
        proxy.scheme_headers,
        |headers: &Vec<super::SchemeHeader>| list(
            &headers
                .iter()
                .map(|header| format!("{}={}", header.name, header.value))
                .collect::<Vec<_>>()
        )
    ),
    key!(Roll, "proxy.header_map", proxy.header_map, word),
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
    pub fn of(changes: &[Change]) -> Self {
        let any = |wanted: &[Apply]| changes.iter().any(|change| wanted.contains(&change.apply));
        Self {
            live: !changes.is_empty(),
            scale: any(&[Apply::Scale]),
            rebind: any(&[Apply::Rebind]),
            roll: any(&[Apply::Rebind, Apply::Roll]),
        }
    }

    /// The most that has to be done; `None` where nothing changed.
    pub fn strongest(&self) -> Option<Apply> {
        [
            (self.rebind, Apply::Rebind),
            (self.roll, Apply::Roll),
            (self.scale, Apply::Scale),
            (self.live, Apply::Live),
        ]
        .into_iter()
        .find_map(|(needed, apply)| needed.then_some(apply))
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

fn unset() -> String {
    "(unset)".to_owned()
}

/// An enum of plain words, as serde writes it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn list(items: &Vec<impl fmt::Display>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match &items[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn paths(paths: &Vec<std::path::PathBuf>) -> String {
    list(&paths.iter().map(|path| path.display()).collect())
}

fn optional(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(unset)
}

fn optional_path(value: &Option<std::path::PathBuf>) -> String {
    value.as_deref().map_or_else(unset, path)
}

fn octal(bits: &u32) -> String {
    format!("{bits:03o}")
}

fn time(duration: &Duration) -> String {
    Time(*duration).to_string()
}

fn size(bytes: &u64) -> String {
    Size(*bytes).to_string()
}

fn size32(bytes: &u32) -> String {
    size(&u64::from(*bytes))
}

fn log_target(target: &LogTarget) -> String {
    match target {
        LogTarget::Off => "off".to_owned(),
        LogTarget::Stdout => "stdout".to_owned(),
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::File(file) => path(file),
    }
}

fn log_format(format: &LogFormat) -> String {
    match format {
        LogFormat::Common => "common".to_owned(),
        LogFormat::Combined => "combined".to_owned(),
        LogFormat::Json => "json".to_owned(),
        LogFormat::Atoms(template) => format!("{template:?}"),
    }
}

fn trusted(trusted: &Trusted) -> String {
    match trusted {
        Trusted::Everyone => "*".to_owned(),
        Trusted::Networks(networks) => list(networks),
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) if tcp.host.contains(':') => write!(f, "[{}]:{}", tcp.host, tcp.port),
            Self::Tcp(tcp) => write!(f, "{}:{}", tcp.host, tcp.port),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Fd(number) => write!(f, "fd://{number}"),
        }
    }
}
