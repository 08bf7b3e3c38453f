//! `[log]`: targets, formats, patterns.

use std::path::Path;

use super::Resolver;
use crate::config::{
    Log, LogFormat, LogTarget, SyslogAddress, Template, address::without_brackets, file,
};

const LOG_TARGETS: &str =
    "\"stdout\", \"stderr\", \"off\", \"syslog\", \"journald\" or the path of a file";
/// Where the daemons of this machine listen: syslog(3), systemd-journald.service(8).
const SYSLOG: &str = "/dev/log";
const JOURNALD: &str = "/run/systemd/journal/socket";
/// RFC 5426 section 3.3.
const SYSLOG_PORT: u16 = 514;
/// RFC 5424 section 6.2.5.
const IDENTIFIER_CHARACTERS_MAX: usize = 48;

impl Resolver<'_> {
    pub(super) fn log(&mut self, log: &file::Log, chdir: &Path, proc_name: &str) -> Log {
        Log {
            access: self.log_target("access", &log.access, chdir),
            error: self.log_target("error", &log.error, chdir),
            level: log.level,
            format: self.log_format(&log.format),
            error_format: log.error_format,
            exclude: self.excluded(&log.exclude.0),
            request_id: log.request_id,
            request_id_header: log.request_id_header.clone(),
            request_id_response: log.request_id_response,
            slow: log.slow.0,
            syslog_facility: log.syslog_facility,
            identifier: log
                .identifier
                .clone()
                .unwrap_or_else(|| identifier_of(proc_name)),
            python_config: log
                .python_config
                .as_ref()
                .map(|path| self.python_config(chdir.join(path))),
            capture_output: log.capture_output,
        }
    }

    fn excluded(&mut self, patterns: &[String]) -> Vec<String> {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Err(error) = globset::Glob::new(pattern) {
                let title = format!("`{pattern}` is not a glob pattern: {}", error.kind());
                self.problem(&format!("/log/exclude/{index}"), title, "", None);
            } else if !pattern.starts_with(['/', '*']) {
                let title = format!("`{pattern}` matches no path, as all begin with a slash");
                let help = format!("write \"/{pattern}\" or \"*{pattern}\"");
                self.problem(&format!("/log/exclude/{index}"), title, "", Some(help));
            }
        }
        patterns.to_vec()
    }

    fn log_target(&mut self, key: &str, text: &str, chdir: &Path) -> LogTarget {
        match text {
            "off" => LogTarget::Off,
            "stdout" => LogTarget::Stdout,
            "stderr" => LogTarget::Stderr,
            "-" => {
                let stream = if key == "access" { "stdout" } else { "stderr" };
                let help = format!("Gunicorn's `-` is written `\"{stream}\"` here");
                self.target_problem(key, Some(help))
            }
            "syslog" => LogTarget::Syslog(SyslogAddress::Local(SYSLOG.into())),
            "journald" => LogTarget::Journald(JOURNALD.into()),
            other => match other.split_once(':') {
                Some(("syslog", address)) => self.syslog(key, address),
                Some(("journald", path)) if path.starts_with('/') => {
                    LogTarget::Journald(path.into())
                }
                _ => LogTarget::File(self.file_to_make(&format!("/log/{key}"), chdir.join(other))),
            },
        }
    }

    fn syslog(&mut self, key: &str, address: &str) -> LogTarget {
        match syslog_address(address) {
            Some(address) => LogTarget::Syslog(address),
            None => self.target_problem(
                key,
                Some(
                    "a syslog is `\"syslog\"`, `\"syslog:/dev/log\"` or `\"syslog:udp://host:514\"`"
                        .to_owned(),
                ),
            ),
        }
    }

    fn target_problem(&mut self, key: &str, help: Option<String>) -> LogTarget {
        let title = format!("`log.{key}` must be {LOG_TARGETS}");
        self.problem(&format!("/log/{key}"), title, "", help);
        LogTarget::Off
    }

    fn log_format(&mut self, text: &str) -> LogFormat {
        match text {
            "common" => LogFormat::Common,
            "combined" => LogFormat::Combined,
            "json" => LogFormat::Json,
            template => match Template::parse(template) {
                Ok(template) => LogFormat::Atoms(template),
                Err(faults) => {
                    for fault in faults.0 {
                        self.problem("/log/format", fault.to_string(), "", None);
                    }
                    LogFormat::Combined
                }
            },
        }
    }
}

/// What `log.identifier` may be: APP-NAME of RFC 5424 section 6.2.5, without the colon, which ends the TAG of RFC 3164.
fn identifier_of(proc_name: &str) -> String {
    let fits = |character: &char| character.is_ascii_graphic() && *character != ':';
    let fitting = proc_name
        .chars()
        .map(|c| Some(c).filter(fits).unwrap_or('_'));
    fitting.take(IDENTIFIER_CHARACTERS_MAX).collect()
}

/// `/path`, `udp://host` or `udp://host:port`; an IPv6 address stands in brackets.
fn syslog_address(text: &str) -> Option<SyslogAddress> {
    if text.starts_with('/') {
        return Some(SyslogAddress::Local(text.into()));
    }
    let rest = text.strip_prefix("udp://")?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (rest, SYSLOG_PORT),
    };
    let host = without_brackets(host);
    let is_host = !host.is_empty() && !host.contains(['/', '[', ']']);
    (is_host && port != 0).then(|| SyslogAddress::Udp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_for_daemons_is_one_that_they_understand() {
        assert_eq!(identifier_of("mysite"), "mysite");
        assert_eq!(identifier_of("mysite.wsgi:app"), "mysite.wsgi_app");
        assert_eq!(identifier_of("My caf\u{e9}\t"), "My_caf__");
        assert_eq!(identifier_of(&"x".repeat(64)).len(), 48);
    }

    #[test]
    fn a_syslog_is_a_path_or_a_host() {
        let udp = |host: &str, port| {
            let host = host.to_owned();
            Some(SyslogAddress::Udp { host, port })
        };
        assert_eq!(
            syslog_address("/run/log"),
            Some(SyslogAddress::Local("/run/log".into()))
        );
        assert_eq!(syslog_address("udp://loghost"), udp("loghost", 514));
        assert_eq!(syslog_address("udp://[::1]:5140"), udp("::1", 5140));
        assert_eq!(syslog_address("udp://[::1]"), udp("::1", 514));
        for wrong in [
            "",
            "loghost",
            "tcp://a:1",
            "udp://",
            "udp://a:b",
            "udp://a:0",
        ] {
            assert_eq!(syslog_address(wrong), None, "{wrong}");
        }
    }
}
