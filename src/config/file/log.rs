//! `[log]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::resolved::LogLevel;

use super::schemas;

/// Where the two logs go and what they look like. Files are reopened on USR1, for logrotate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The access log, one line for each request: `"stdout"`, `"stderr"`, `"off"` or a file, relative to `chdir`.
    ///
    /// On by default, since a server whose requests nobody can see is hard to run; containers and systemd collect
    /// the standard output.
    #[schemars(schema_with = "schemas::log_target", example = &"/var/log/mysite/access.log")]
    pub access: String,

    /// The error log, for all the server has to say: `"stdout"`, `"stderr"`, `"off"` or a file, relative to `chdir`.
    ///
    /// The default keeps it apart from the access log.
    #[schemars(schema_with = "schemas::log_target", example = &"/var/log/mysite/error.log")]
    pub error: String,

    /// The least important messages that still go to the error log.
    ///
    /// The default tells of starts, reloads and deaths, and says nothing while all is well.
    #[schemars(example = &"warning")]
    pub level: LogLevel,

    /// The form of an access log line: `"combined"`, `"common"`, `"json"` or a template of Gunicorn's atoms.
    ///
    /// The default is what Apache and nginx write and every log reader knows. Atoms: `%(h)s` client address, `%(peer)s` the
    /// other end of the socket (`10.0.0.5:4711`, `unix`), which may be a proxy, `%(u)s` user, `%(t)s` time, `%(r)s` request line, `%(m)s` method, `%(U)s` path, `%(q)s` query, `%(H)s` protocol, `%(s)s`
    /// status, `%(B)s` or `%(b)s` bytes sent, `%(f)s` referer, `%(a)s` user agent, `%(T)s` seconds, `%(M)s` milliseconds,
    /// `%(D)s` microseconds, `%(L)s` seconds with a fraction, `%(p)s` process id, `%({name}i)s` request header,
    /// `%({name}o)s` response header, `%({name}e)s` environ variable.
    #[schemars(
        schema_with = "schemas::log_format",
        example = &"json", example = &"%(h)s \"%(r)s\" %(s)s %(M)s"
    )]
    pub format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            access: "stdout".to_owned(),
            error: "stderr".to_owned(),
            level: LogLevel::Info,
            format: "combined".to_owned(),
        }
    }
}
