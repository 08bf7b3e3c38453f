//! Values as people would write them, on one line.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::config::{
    AdminSocket, HealthCheck, HookRef, LogFormat, LogTarget, SchemeHeader, Secret, SyslogAddress,
    Trusted,
    units::{Size, Time},
};

pub(super) fn unset() -> String {
    "(unset)".to_owned()
}

/// An enum of plain words, as serde writes it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

pub(super) fn list(items: &[impl fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match &items[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn paths(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| path.display()).collect();
    list(&shown)
}

pub(super) fn optional(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(unset)
}

pub(super) fn optional_path(value: &Option<PathBuf>) -> String {
    value.as_deref().map_or_else(unset, path)
}

pub(super) fn optional_text(value: &Option<impl fmt::Display>) -> String {
    value.as_ref().map_or_else(unset, ToString::to_string)
}

pub(super) fn hidden(secret: &Option<Secret>) -> String {
    secret
        .as_ref()
        .map_or_else(unset, |_| "(hidden)".to_owned())
}

pub(super) fn admin_socket(socket: &AdminSocket) -> String {
    match socket {
        AdminSocket::Auto => "auto".to_owned(),
        AdminSocket::Off => "off".to_owned(),
        AdminSocket::Path(file) => path(file),
    }
}

pub(super) fn octal(bits: &u32) -> String {
    format!("{bits:03o}")
}

pub(super) fn time(duration: &Duration) -> String {
    Time(*duration).to_string()
}

pub(super) fn size(bytes: &u64) -> String {
    Size(*bytes).to_string()
}

pub(super) fn size32(bytes: &u32) -> String {
    size(&u64::from(*bytes))
}

pub(super) fn log_target(target: &LogTarget) -> String {
    match target {
        LogTarget::Off => "off".to_owned(),
        LogTarget::Stdout => "stdout".to_owned(),
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::File(file) => path(file),
        LogTarget::Syslog(SyslogAddress::Local(socket)) => format!("syslog:{}", path(socket)),
        LogTarget::Syslog(SyslogAddress::Udp { host, port }) if host.contains(':') => {
            format!("syslog:udp://[{host}]:{port}")
        }
        LogTarget::Syslog(SyslogAddress::Udp { host, port }) => {
            format!("syslog:udp://{host}:{port}")
        }
        LogTarget::Journald(socket) => format!("journald:{}", path(socket)),
    }
}

pub(super) fn log_format(format: &LogFormat) -> String {
    match format {
        LogFormat::Common => "common".to_owned(),
        LogFormat::Combined => "combined".to_owned(),
        LogFormat::Json => "json".to_owned(),
        LogFormat::Atoms(template) => format!("{:?}", template.text()),
    }
}

pub(super) fn health_check(check: &Option<HealthCheck>) -> String {
    let Some(check) = check else { return unset() };
    let status = check
        .status
        .map_or_else(|| "2xx or 3xx".to_owned(), |status| status.to_string());
    format!(
        "{} at {} ({status}, {} tries, {})",
        check.path,
        check.host,
        check.tries,
        time(&check.timeout)
    )
}

pub(super) fn trusted(trusted: &Trusted) -> String {
    match trusted {
        Trusted::Everyone => "*".to_owned(),
        Trusted::Networks(networks) => list(networks),
    }
}

pub(super) fn scheme_headers(headers: &[SchemeHeader]) -> String {
    let shown: Vec<_> = headers
        .iter()
        .map(|header| format!("{}={}", header.name, header.value))
        .collect();
    list(&shown)
}

pub(super) fn optional_hook(hook: &Option<HookRef>) -> String {
    hook.as_ref().map_or_else(unset, HookRef::to_string)
}

/// As a list, also where it is a program alone.
pub(super) fn command(command: &Option<Vec<String>>) -> String {
    command
        .as_ref()
        .map_or_else(unset, |words| format!("{words:?}"))
}
