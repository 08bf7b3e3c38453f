//! `[log]`.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Template;

/// The access log and the error log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub access: LogTarget,
    pub error: LogTarget,
    pub level: LogLevel,
    pub format: LogFormat,
    pub error_format: ErrorFormat,
    /// Patterns of paths that are not in the access log.
    pub exclude: Vec<String>,
    /// Every request has an id, shown to the app.
    pub request_id: bool,
    /// Empty: none is looked at.
    pub request_id_header: String,
    pub request_id_response: bool,
    /// Zero: no request is called slow.
    pub slow: Duration,
    pub syslog_facility: Facility,
    /// In syslog and the journal.
    pub identifier: String,
    /// Absolute.
    pub python_config: Option<PathBuf>,
    pub capture_output: bool,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogTarget {
    Off,
    Stdout,
    Stderr,
    /// Absolute.
    File(PathBuf),
    Syslog(SyslogAddress),
    /// The journal's socket.
    Journald(PathBuf),
}

/// Where a syslog daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogAddress {
    /// A datagram socket of this machine, absolute.
    Local(PathBuf),
    /// RFC 5426.
    Udp { host: String, port: u16 },
}

/// Form of the error log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ErrorFormat {
    /// `[2026-11-21 02:42:56 +0000] [812] [INFO] generation=3 worker=2 pid=814 ready`
    Text,
    /// One JSON object on each line.
    Json,
}

/// RFC 5424 section 6.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Facility {
    Kern = 0,
    User = 1,
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Lpr = 6,
    News = 7,
    Uucp = 8,
    Cron = 9,
    Authpriv = 10,
    Ftp = 11,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogLevel {
    /// All that may help to find a fault in the server.
    Debug,
    /// Starts, reloads, ends.
    Info,
    /// What went wrong and was mended, such as a worker that died.
    Warning,
    /// What failed, such as a request that raised or a reload that was refused.
    Error,
    /// What keeps the server from serving.
    Critical,
}

impl LogLevel {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Format of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    Common,
    Combined,
    Json,
    /// A template of Gunicorn's atoms, `%(h)s …`.
    Atoms(Template),
}
