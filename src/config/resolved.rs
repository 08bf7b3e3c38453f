//! What runs: every value present, parsed and checked. What a person may write is `config::file`.

mod admin;
mod health;
mod hooks;
mod limits;
mod log;
mod proxy;
mod reload;
mod statsd;
mod timeouts;
mod websocket;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admin::{Admin, AdminSocket};
pub use health::HealthCheck;
pub use hooks::{HookCommands, HookRef, Hooks};
pub use limits::Limits;
pub use log::{ErrorFormat, Facility, Log, LogFormat, LogLevel, LogTarget, SyslogAddress};
pub use proxy::{ForwardedBy, HeaderMap, Proxy, ProxyProtocol, SchemeHeader, Trusted};
pub use reload::Reload;
pub use statsd::{Statsd, StatsdHost};
pub use timeouts::Timeouts;
pub use websocket::WebSocket;

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
