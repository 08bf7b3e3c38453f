//! What runs: every value present, parsed and checked. What a person may write is `config::file`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Secret, Template};

/// One immutable configuration. A generation and its workers are made from one of these, and may take the live part
/// ([`super::LiveConfig`]) of later ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub app: AppRef,
    /// At least one.
    pub bind: Vec<Bind>,
    /// Resolved from a number or "auto"; at least 1.
    pub workers: u16,
    /// At least 1.
    pub threads: u16,
    /// `Auto` is settled by the workers, who see the app.
    pub worker_class: WorkerClass,
    /// Of `asgi` workers.
    pub event_loop: EventLoop,
    /// Of ASGI apps.
    pub lifespan: Lifespan,
    /// Where an ASGI app is mounted: empty, or a path without a slash at its end.
    pub root_path: String,
    pub preload: bool,
    /// The kernel may merge equal pages of generation and workers.
    pub merge_memory: bool,
    /// The interpreter as configured; `None` means: find one (see `arbiter::interpreter`).
    pub python: Option<PathBuf>,
    /// Absolute. The working directory of generations, first on `sys.path`.
    pub chdir: PathBuf,
    pub python_path: Vec<PathBuf>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub umask: Option<u32>,
    pub pidfile: Option<PathBuf>,
    /// Shown in process titles; the app's name unless configured.
    pub proc_name: String,
    pub backlog: u32,
    /// Permission bits of UNIX sockets.
    pub socket_mode: u32,
    /// Environment variables set for the app.
    pub env: BTreeMap<String, String>,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub log: Log,
    pub reload: Reload,
    pub proxy: Proxy,
    pub websocket: WebSocket,
    pub hooks: Hooks,
    pub statsd: Statsd,
    pub admin: Admin,
}

impl Config {
    /// A copy without the admin interface's secret: what leaves the arbiter is without it.
    pub fn without_token(&self) -> Self {
        let mut config = self.clone();
        config.admin.token = None;
        config
    }
}

/// Where the application is: `module`, `module:attr`, `module:factory('arg', key=1)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRef {
    /// As written.
    pub text: String,
    pub module: String,
    /// `application` unless named; dots descend.
    pub attribute: String,
    /// For a factory: the Python source of the call's arguments, literals only, without the parentheses.
    pub factory_arguments: Option<String>,
}

/// One entry of `bind`: where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bind {
    Tcp(TcpBind),
    /// `unix:path`; a leading `@` means the abstract namespace. Absolute otherwise.
    Unix(PathBuf),
    /// `fd://n`: an inherited listening socket.
    Fd(i32),
    /// `systemd:name`: the listening sockets that the service manager passed under this name.
    Systemd(String),
}

/// A name may stand for several addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TcpBind {
    /// A name or an address without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum WorkerClass {
    /// `asgi` for a coroutine app; else `sync` where `threads = 1`, and `gthread` where there are more.
    Auto,
    /// One request at a time in each worker.
    Sync,
    /// `threads` requests at a time in each worker.
    Gthread,
    /// An ASGI app: any number of requests at a time in an event loop.
    Asgi,
    /// A greenlet per request, as many at a time as `limits.connections`, on gevent's hub. The standard library is
    /// patched before the app is imported: what waits lets others run. Needs the package gevent.
    Gevent,
    /// The same on eventlet's hub. Needs the package eventlet.
    Eventlet,
}

impl WorkerClass {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
            Self::Gthread => "gthread",
            Self::Asgi => "asgi",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
        }
    }

    /// The Python package without which it cannot work.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Self::Gevent => Some("gevent"),
            Self::Eventlet => Some("eventlet"),
            Self::Auto | Self::Sync | Self::Gthread | Self::Asgi => None,
        }
    }
}

/// The event loop of an `asgi` worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum EventLoop {
    /// uvloop if it is installed, else asyncio's.
    Auto,
    /// The standard library's.
    Asyncio,
    /// The package uvloop's.
    Uvloop,
}

/// Whether an ASGI app is told of the start and the end of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Lifespan {
    /// As the app wants it: one that does not know the lifespan scope is served without.
    Auto,
    /// The app must take part.
    On,
    /// The app is not told.
    Off,
}

/// Zero means "no limit" where the key's documentation allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From fork to ready.
    pub boot: Duration,
    /// A worker whose threads are all in a call and which completed nothing for this long is replaced. Zero: never.
    pub worker: Duration,
    /// The longest an app call may take before it is interrupted and answered 504. Zero: no limit.
    pub request: Duration,
    /// What a draining worker may take.
    pub graceful: Duration,
    /// Idle time on a kept-alive connection. Zero: no keep-alive.
    pub keepalive: Duration,
    /// From the first byte (or the accept) to the end of the head.
    pub header: Duration,
    /// The longest pause between two reads of a body.
    pub body: Duration,
    /// The longest a response may make no progress because the client does not read.
    pub write: Duration,
}

/// Bounds of what clients may send and workers may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the request line without CRLF.
    pub request_line: u32,
    /// Number of header fields.
    pub headers: u32,
    /// Bytes of one header line.
    pub header_size: u32,
    /// Bytes of the request line and all header lines together, with their ends.
    pub head: u32,
    /// Bytes of a request body. Zero: no limit.
    pub body: u64,
    /// Open connections of one worker.
    pub connections: u32,
    /// Zero: never.
    pub max_requests: u64,
    pub max_requests_jitter: u64,
    /// Resident bytes of a worker after which it is replaced. Zero: no limit.
    pub worker_memory: u64,
}

impl Limits {
    /// Open files of a worker that go to the app, to bodies in temporary files and to the worker itself. As many as most systems
    /// give a process that asks for nothing, so the app has what it had without its connections.
    const OTHER_FILES: u64 = 1024;

    /// How many files a worker should be allowed to have open.
    pub fn open_files(&self) -> u64 {
        u64::from(self.connections) + Self::OTHER_FILES
    }

    /// The most connections with which a worker has enough open files left, where it can have no more than `most`: half of
    /// them, if these are few.
    pub fn connections_within(most: u64) -> u64 {
        most.saturating_sub(Self::OTHER_FILES).max(most / 2)
    }
}

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

/// What is a reason to reload, and how it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Watch the config file.
    pub watch: bool,
    /// Globs relative to `chdir`; empty means that code is not watched.
    pub code: Vec<String>,
    /// Globs relative to `chdir` that are not code after all.
    pub ignore: Vec<String>,
    /// Absolute.
    pub touch: Option<PathBuf>,
    pub debounce: Duration,
    /// How many workers beyond `workers` a roll may start at once; at least 1. Resolved from a number or per cent.
    pub surge: u16,
    pub health_check: Option<HealthCheck>,
    /// Zero: off.
    pub probation: Duration,
}

/// What a new worker has to answer before it takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Begins with a slash.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// `None`: any of 200 to 399.
    pub status: Option<u16>,
    /// At least 1.
    pub tries: u16,
    /// For each try.
    pub timeout: Duration,
}

/// WebSockets of ASGI apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSocket {
    /// Bytes of the longest message.
    pub message_size: u64,
    /// How long a client may be silent before it is pinged. Zero: it is never.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// Whether permessage-deflate is agreed to.
    pub compression: bool,
}

/// Functions of the user's that are called at certain moments, and commands that are run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    pub post_fork: Option<HookRef>,
    pub worker_init: Option<HookRef>,
    pub worker_exit: Option<HookRef>,
    pub worker_abort: Option<HookRef>,
    pub child_exit: Option<HookRef>,
    pub pre_request: Option<HookRef>,
    pub post_request: Option<HookRef>,
    pub when_ready: Option<HookRef>,
    pub on_exit: Option<HookRef>,
    pub commands: HookCommands,
}

/// Where a hook is: `module:function`; dots descend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRef {
    pub module: String,
    pub function: String,
}

/// Each a program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCommands {
    pub when_ready: Option<Vec<String>>,
    pub reload_done: Option<Vec<String>>,
    pub reload_failed: Option<Vec<String>>,
    pub rolled_back: Option<Vec<String>>,
    pub worker_died: Option<Vec<String>>,
    pub child_exit: Option<Vec<String>>,
    pub on_exit: Option<Vec<String>>,
}

/// Whose word is taken about the client, and how it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    pub forwarded_allow_ips: Trusted,
    pub forwarded: ForwardedBy,
    /// The host and port that the proxy tells take the place of the request's.
    pub forwarded_host: bool,
    /// A header that says `https`, from a trusted peer.
    pub scheme_headers: Vec<SchemeHeader>,
    pub header_map: HeaderMap,
    pub protocol: ProxyProtocol,
    pub protocol_allow_ips: Trusted,
}

/// Metrics for a statsd server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statsd {
    /// `None`: nothing is sent.
    pub host: Option<StatsdHost>,
    /// Without the dot behind it.
    pub prefix: String,
    pub tags: Vec<String>,
}

/// Where the statsd server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatsdHost {
    Udp {
        /// A name or an address without brackets.
        host: String,
        port: u16,
    },
    /// Absolute.
    Unix(PathBuf),
}

/// Where the server can be asked and told, beside signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    pub socket: AdminSocket,
    /// `None`: no TCP.
    pub address: Option<SocketAddr>,
    pub token: Option<Secret>,
    /// Absolute. Holds the token when `token` does not.
    pub token_file: Option<PathBuf>,
    /// Paths that need no token.
    pub open: Vec<String>,
}

/// Where the UNIX socket of the admin interface is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminSocket {
    /// The server finds a place.
    #[default]
    Auto,
    Off,
    /// Absolute; `{pid}` stands for the process id.
    Path(PathBuf),
}

/// The header that tells the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ForwardedBy {
    /// The one that nearly all proxies write; each adds to the right the address that it was called from.
    XForwardedFor,
    /// The standard one, RFC 7239, which tells the scheme too.
    Forwarded,
    /// None: the client's address is the proxy's.
    Off,
}

/// Versions of the PROXY protocol that a connection may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ProxyProtocol {
    /// It is not spoken.
    Off,
    /// A readable line.
    V1,
    /// A binary header.
    V2,
    /// Either.
    Auto,
}

/// Whose word is taken. That of UNIX-socket peers always is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trusted {
    Everyone,
    Networks(Vec<IpNet>),
}

impl Trusted {
    /// Whether a peer with this address is trusted; one of IPv4 may come in IPv6's clothes.
    pub fn includes(&self, address: IpAddr) -> bool {
        matches!(self, Self::Everyone) || self.names(address)
    }

    /// Whether this address is in a network that is written down. Where everyone is trusted, none is.
    pub fn names(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Everyone => false,
            Self::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// A header by which a proxy says that its client came over https.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemeHeader {
    /// As it appears on the wire, compared without case.
    pub name: String,
    /// The value that means https, compared without case.
    pub value: String,
}

/// What happens to header names that contain an underscore and so could pass for another in the environ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum HeaderMap {
    /// The header does not reach the app.
    Drop,
    /// The request is answered with 400.
    Refuse,
    /// The header reaches the app. Safe only where nobody but a proxy that filters them can connect.
    Keep,
}
