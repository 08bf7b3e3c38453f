//! `[log]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{
    resolved::{ErrorFormat, Facility, LogLevel},
    units::Time,
};

use super::{Texts, schemas};

/// Where the two logs go and what they look like. Files are reopened on USR1, for logrotate. See `docs/logging.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The access log, one line for each request: `"stdout"`, `"stderr"`, `"off"`, `"syslog"`, `"journald"` or a file,
    /// relative to `chdir`.
    ///
    /// On by default, since a server whose requests nobody can see is hard to run; containers and systemd collect
    /// the standard output. `"syslog"` is the socket `/dev/log`, `"syslog:/path"` another one, `"syslog:udp://host:514"` a
    /// server. A log that cannot keep up loses lines and tells how many; it holds up no request.
    #[schemars(schema_with = "schemas::log_target", example = &"/var/log/mysite/access.log")]
    pub access: String,

    /// The error log, for all the server has to say: `"stdout"`, `"stderr"`, `"off"`, `"syslog"`, `"journald"` or a file,
    /// relative to `chdir`.
    ///
    /// The default keeps it apart from the access log. Where the standard error output is systemd's journal, lines carry
    /// their level to it.
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
    /// `%(D)s` microseconds, `%(L)s` seconds with a fraction, `%(p)s` process id, `%(request_id)s` request id,
    /// `%({name}i)s` request header, `%({name}o)s` response header, `%({name}e)s` environ variable. What clients send is escaped,
    /// for JSON where the template begins with `{`.
    #[schemars(
        schema_with = "schemas::log_format",
        example = &"json", example = &"%(h)s \"%(r)s\" %(s)s %(M)s"
    )]
    pub format: String,

    /// The form of an error log line.
    ///
    /// The default is Gunicorn's. `"json"` is for log collectors: one object on each line, with `time`, `level`, `pid`,
    /// `role`, `message`, the numbers that the line is about (`generation`, `worker`, `reload`) and, where there is more to
    /// say, such as a traceback, `detail`.
    #[schemars(example = &"json")]
    pub error_format: ErrorFormat,

    /// Paths whose requests are not in the access log: one or a list, `*` stands for any characters.
    ///
    /// Empty by default. Only requests that went well are left out: an answer of 400 or more is logged whatever its path.
    #[schemars(schema_with = "schemas::texts", example = &"/healthz", example = ["/healthz", "/static/*"])]
    pub exclude: Texts,

    /// Give every request an id, and show it to the app: `rgunicorn.request_id` in the WSGI environ or the ASGI scope.
    ///
    /// Off by default, since it costs a little of each request. On by itself where something else shows ids: the access log
    /// (`format = "json"`, or `%(request_id)s` in a template), the response (`request_id_response`) or the lines about slow requests (`slow`).
    #[schemars(example = true)]
    pub request_id: bool,

    /// The request header that brings a request's id along. Empty: ids are always made here.
    ///
    /// Believed from peers in `proxy.forwarded_allow_ips` only, and only up to 128 letters, digits and `-_.:/+=@~`; other
    /// requests get an id of their own, of 32 hexadecimal digits. The default is what most proxies send.
    #[schemars(regex(pattern = r"^[A-Za-z0-9-]{0,64}$"), example = &"X-Correlation-ID")]
    pub request_id_header: String,

    /// Send the request's id back, in a response header of the same name (`X-Request-ID` if there is none).
    ///
    /// Off by default. A field of that name which the app sends itself is left alone.
    #[schemars(example = true)]
    pub request_id_response: bool,

    /// After how long a request with the app is called slow: up to 1h, 0 for never.
    ///
    /// Then one line says which request it is, and below it stands the Python stack of its thread, task or greenlet at
    /// that moment. Off by default: what is slow depends on the app. At most ten such lines in ten seconds and worker.
    #[schemars(extend("maximum" = 3600), example = &"5s")]
    pub slow: Time,

    /// The facility of syslog messages. The default is that of other programs' messages, and Gunicorn's.
    #[schemars(example = &"local0")]
    pub syslog_facility: Facility,

    /// The name by which syslog and the journal know this server. By default `proc_name`.
    ///
    /// Up to 48 visible ASCII characters and no colon, which would end the name for many a reader. Of `proc_name` the first 48
    /// are taken, with `_` for what does not fit: `mysite.wsgi:app` is `mysite.wsgi_app`.
    #[schemars(regex(pattern = r"^[!-9;-~]{1,48}$"), example = &"mysite")]
    pub identifier: Option<String>,

    /// A file that configures Python's `logging` before the app is imported, relative to `chdir`: `.toml` or `.json` for
    /// `logging.config.dictConfig`, `.ini`, `.conf` or `.cfg` for `fileConfig`.
    ///
    /// None by default: most apps configure their own logging. It is for what the app logs; the server's own logs are not
    /// Python's. A file with a fault rejects the reload, with what Python says.
    #[schemars(length(min = 1), example = &"logging.toml")]
    pub python_config: Option<String>,

    /// Write to the error log what the app prints, line by line, with the worker that printed it.
    ///
    /// Off by default: what the app prints goes where the server's own output goes. Lines of the standard output have the
    /// level `info`, those of the standard error output `warning`; C libraries are heard, too.
    #[schemars(example = true)]
    pub capture_output: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            access: "stdout".to_owned(),
            error: "stderr".to_owned(),
            level: LogLevel::Info,
            format: "combined".to_owned(),
            error_format: ErrorFormat::Text,
            exclude: Texts(Vec::new()),
            request_id: false,
            request_id_header: "X-Request-ID".to_owned(),
            request_id_response: false,
            slow: Time::seconds(0),
            syslog_facility: Facility::User,
            identifier: None,
            python_config: None,
            capture_output: false,
        }
    }
}
