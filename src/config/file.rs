//! What a person may write in `rgunicorn.toml`. The doc comment of a key is its manual: the schema, the editor's
//! hints and `--help` all show it. `Default` holds the defaults, once, for serde and for the schema.
//!
//! Nothing is checked here beyond its shape; `resolve` makes the [`Config`](super::Config) that runs.

mod admin;
mod health;
mod hooks;
mod limits;
mod log;
mod proxy;
mod reload;
mod schemas;
mod shapes;
mod statsd;
mod timeouts;
mod websocket;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admin::Admin;
pub use health::HealthCheck;
pub use hooks::{HookCommands, Hooks};
pub use limits::Limits;
pub use log::Log;
pub use proxy::Proxy;
pub use reload::Reload;
pub(super) use shapes::EXPECTED;
pub use shapes::{Amount, NameOrNumber, Octal, Texts};
pub use statsd::Statsd;
pub use timeouts::Timeouts;
pub use websocket::WebSocket;

use super::resolved::{EventLoop, Lifespan, WorkerClass};

/// The configuration of rgunicorn. Save the file while the server runs, and the server becomes what it says.
///
/// Every key can also be set by an environment variable (`RGUNICORN_WORKERS`, `RGUNICORN_TIMEOUTS_KEEPALIVE`) and on
/// the command line (`--workers 4`, `--set timeouts.keepalive=75s`); the command line wins over the environment, and
/// the environment over this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "rgunicorn.toml")]
pub struct File {
    /// The application: `module`, `module:attribute` or `module:factory('argument', key=1)`.
    ///
    /// The module is imported with `chdir` first on `sys.path`. The attribute is `application` unless named, as
    /// Django's `wsgi.py` calls it; dots descend into it. A factory is called once in each worker with the literals
    /// given. There is no default; the command line's first argument sets it too.
    #[schemars(
        regex(pattern = r"^[^\s:]+(:.+)?$"),
        extend("x-rgunicorn-expected" = "\"module\", \"module:attribute\" or \"module:factory('argument')\""),
        example = &"mysite.wsgi", example = &"app:app", example = &"app:create_app('production')"
    )]
    pub app: Option<String>,

    /// Where to listen: one address or a list of `host:port`, `[ipv6]:port`, `unix:path`, `fd://number` and `systemd:name`.
    ///
    /// The default is for this machine alone: behind a reverse proxy that is right, and nothing is exposed by
    /// accident. In a container write `0.0.0.0:8000`. An empty host (`:8000`) is every IPv4 address. A UNIX path is
    /// relative to `chdir`; one that begins with `@` is abstract. `fd://3` is a listening socket inherited from the
    /// parent, `systemd:name` the sockets of a socket unit with that `FileDescriptorName=` (the unit's own name unless it
    /// says another). Sockets that systemd passes and that none of these names are served too, and instead of the default
    /// where `bind` is not written. New addresses are opened before old ones close.
    #[schemars(
        schema_with = "schemas::bind",
        example = &"0.0.0.0:8000", example = &"unix:/run/app.sock", example = ["127.0.0.1:8000", "[::1]:8000"]
    )]
    pub bind: Texts,

    /// Worker processes: a number from 1 to 256, or `"auto"`.
    ///
    /// `"auto"` counts the processors this server may use, with CPU affinity and the container's quota (cgroup v1 and v2)
    /// regarded: twice the processors plus one, because a worker that waits for the database leaves its processor idle;
    /// as many as processors where `threads` or `worker_class` says that a worker fills those waits itself. Never more
    /// than 32, since from there on memory decides, which only you know.
    #[schemars(schema_with = "schemas::workers", example = 4)]
    pub workers: Amount,

    /// Threads that call the app in each worker: 1 to 1024.
    ///
    /// The default of 1 asks nothing of the app: no library has to be thread-safe. Slow clients and idle connections
    /// occupy no thread, so more threads only pay where the app itself waits, for a database or another service.
    #[schemars(range(min = 1, max = 1024), example = 4)]
    pub threads: u16,

    /// How a worker calls the app.
    ///
    /// The default looks at the app and at `threads`: `"asgi"` for an ASGI app, else `"sync"` for one thread and
    /// `"gthread"` for more; the log says what was chosen. Gunicorn's class paths, such as
    /// `uvicorn.workers.UvicornWorker`, are understood.
    #[schemars(example = &"gthread", example = &"asgi")]
    pub worker_class: WorkerClass,

    /// The event loop of `asgi` workers.
    ///
    /// The default takes uvloop where the interpreter has it installed, else asyncio's own loop.
    #[schemars(example = &"uvloop")]
    #[serde(rename = "loop")]
    pub event_loop: EventLoop,

    /// Whether an ASGI app is told when its worker starts and ends, by ASGI's lifespan protocol.
    ///
    /// With the default, an app that refuses the lifespan scope before it received anything is served without, and the
    /// log says so. Any other failure in the app's start-up is one: the worker does not become ready, and a reload is
    /// given up. With `"on"` an app that takes no part has failed, too; with `"off"` it is not asked.
    ///
    /// Its shutdown comes after the last request of the worker, and has what is left of `timeouts.graceful`, or a second if that is less. It comes
    /// also where requests had to be cut off, or the server was told to end at once: they are cancelled first.
    #[schemars(example = &"on")]
    pub lifespan: Lifespan,

    /// Where an ASGI app is mounted: the path that a proxy took off its requests, such as `"/api"`. Empty by default.
    ///
    /// It is put before the path of each request. For a WSGI app set the variable `SCRIPT_NAME`, such as in `[env]`.
    #[schemars(regex(pattern = r"^(/.*[^/])?$"), example = &"/api")]
    pub root_path: String,

    /// Import the app once, before the workers are forked, which then share its memory.
    ///
    /// Off by default, because an app that opens connections or starts threads at import does not survive a fork.
    /// New code is taken up on every reload all the same.
    #[schemars(example = true)]
    pub preload: bool,

    /// Let the kernel merge pages of memory that hold the same in several workers.
    ///
    /// The kernel's thread `ksmd` compares pages in the background and keeps one copy of equal ones, until somebody writes to
    /// it. This is for workers with `preload`: what they copied by writing to it most often ends up with the same
    /// content again. A fifth of the memory of a small Flask and Django app comes back within half a minute; without `preload`,
    /// a fifteenth.
    ///
    /// Needs Linux 6.4, and a host that merges: `echo 1 > /sys/kernel/mm/ksm/run` as root, on the host of a container.
    /// Where either is missing the error log says so, and all works as without.
    ///
    /// Off by default, because `ksmd` takes processor time (2 per cent of one as Linux sets it), and because whoever runs other
    /// processes on the host that let the kernel merge can find out, by timing their own writes, whether a page of
    /// a content that they know is in memory here, too. So leave it off on hosts shared with strangers.
    #[schemars(example = true)]
    pub merge_memory: bool,

    /// The Python interpreter, 3.10 or newer, most often a virtualenv's.
    ///
    /// A path is relative to `chdir`, and a virtualenv's directory stands for the interpreter in it; a bare name that is nothing
    /// in `chdir` is looked up on `PATH`. By default: the interpreter beside the installed `rgunicorn`, else the one of
    /// `$VIRTUAL_ENV`, else `python3` on `PATH`.
    #[schemars(length(min = 1), example = &".venv/bin/python", example = &"python3.12")]
    pub python: Option<String>,

    /// The working directory of the app, first on `sys.path`. All other relative paths start here.
    ///
    /// By default the directory of this file, so that the server does the same wherever it is started; without a
    /// file, the current directory. A relative path here starts at the directory of this file.
    #[schemars(length(min = 1), example = &"/srv/mysite", example = &"src")]
    pub chdir: Option<String>,

    /// Directories to put on `sys.path` after `chdir`: one or a list, relative to `chdir`. Empty by default.
    #[schemars(schema_with = "schemas::texts", example = &"lib", example = ["lib", "/srv/shared"])]
    pub python_path: Texts,

    /// The user that runs the workers: a name or a number. By default the user that starts the server.
    ///
    /// Needs a start as root. The server itself keeps its rights, so that it can open a low port later. All Python code runs as this
    /// user, who has to be allowed to enter `chdir` and to run the interpreter.
    #[schemars(example = &"www-data", example = 33)]
    pub user: Option<NameOrNumber>,

    /// The group that runs the workers: a name or a number. By default the primary group of `user`.
    #[schemars(example = &"www-data")]
    pub group: Option<NameOrNumber>,

    /// Permissions that files made by the workers do not get, in octal, `"000"` to `"777"`.
    ///
    /// By default inherited from whoever starts the server, which is the system's choice and usually `"022"`.
    #[schemars(example = &"027")]
    pub umask: Option<Octal>,

    /// A file that holds the process id of the server while it runs, relative to `chdir`. None by default: systemd
    /// and containers need none.
    ///
    /// One that a crash left behind is taken over. A file that holds anything but a number is refused, and left as it is; so is what the user
    /// that workers run as leads to with a link, unless it is that user's own.
    #[schemars(length(min = 1), example = &"/run/mysite.pid")]
    pub pidfile: Option<String>,

    /// The name in process titles, as `ps` shows them. By default the app's.
    ///
    /// The titles are the server's: the package `setproctitle` finds no room for others, and changes nothing.
    #[schemars(length(min = 1, max = 64), example = &"mysite")]
    pub proc_name: Option<String>,

    /// Connections the kernel may hold for each address before they are accepted: 1 to 65535.
    ///
    /// The default is Gunicorn's: enough to ride out a burst. The kernel caps it at `net.core.somaxconn`.
    #[schemars(range(min = 1, max = 65535), example = 4096)]
    pub backlog: u32,

    /// Permissions of UNIX sockets in octal.
    ///
    /// The default lets the user and the group connect and no one else, because whoever can connect is believed
    /// about client addresses. Put the reverse proxy's user into the group, or set `group` to the proxy's.
    #[schemars(example = &"666")]
    pub socket_mode: Octal,

    /// Environment variables for the app, added to those the server was started with. Values are strings, in quotes.
    ///
    /// Empty by default. No message shows a value; a reload logs the names of those that changed. On the command line each is
    /// an `-e NAME=VALUE`, whose value is taken as it is, quotes and spaces included. The variable `RGUNICORN_ENV` holds several,
    /// `NAME=VALUE,NAME=VALUE`, so their values have no commas.
    #[schemars(example = serde_json::json!({ "DJANGO_SETTINGS_MODULE": "mysite.settings" }))]
    pub env: BTreeMap<String, String>,

    // Each table's manual is with its type.
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

impl Default for File {
    fn default() -> Self {
        Self {
            app: None,
            bind: Texts(vec!["127.0.0.1:8000".to_owned()]),
            workers: Amount::Auto,
            threads: 1,
            worker_class: WorkerClass::Auto,
            event_loop: EventLoop::Auto,
            lifespan: Lifespan::Auto,
            root_path: String::new(),
            preload: false,
            merge_memory: false,
            python: None,
            chdir: None,
            python_path: Texts(Vec::new()),
            user: None,
            group: None,
            umask: None,
            pidfile: None,
            proc_name: None,
            backlog: 2048,
            socket_mode: Octal(0o660),
            env: BTreeMap::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            log: Log::default(),
            reload: Reload::default(),
            proxy: Proxy::default(),
            websocket: WebSocket::default(),
            hooks: Hooks::default(),
            statsd: Statsd::default(),
            admin: Admin::default(),
        }
    }
}
