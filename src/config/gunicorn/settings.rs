//! All settings of Gunicorn 27, and what became of each. The one table behind the hints of the error messages, the answers
//! to Gunicorn's flags, `rgunicorn migrate` and `docs/gunicorn-settings.md`. A test compares it with Gunicorn itself.

/// One setting of Gunicorn.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// Its flags as Gunicorn's command line spells them, parted by spaces; may be empty.
    pub flags: &'static str,
    pub takes: Takes,
    /// Its default as Python writes it; empty where it differs from machine to machine, and for hooks.
    pub default: &'static str,
    pub fate: Fate,
    pub form: Form,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One value; the last one counts.
    One,
    /// One value each time it is given; all count.
    Many,
    /// None: being there means true.
    Nothing,
    /// One value, or this one when none follows.
    Maybe(&'static str),
}

/// What became of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The key of the same name, with the same meaning. A remark, or nothing.
    Same(&'static str),
    /// The key of this full name, with the same meaning.
    Renamed(&'static str),
    /// The key of this full name, which does it in another form. The remark says what is different.
    Better(&'static str, &'static str),
    /// No key: a sentence says why or what to do.
    Gone(&'static str),
}

/// How a value is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Not at all: there is no key.
    Nothing,
    Text,
    Number,
    /// A number, or one that depends on the processors.
    Workers,
    /// A number of seconds.
    Seconds,
    Switch,
    /// A list, or a text with commas.
    Words,
    /// The app: `module:attribute`.
    App,
    /// Addresses.
    Bind,
    WorkerClass,
    /// A directory, which means another one where the file lies elsewhere.
    Directory,
    /// Permission bits.
    Umask,
    /// `NAME=value`, or a list of these.
    Variables,
    /// Header names with values.
    Headers,
    HeaderMap,
    /// 0 for no limit: the bound of the key's range takes its place.
    LimitOrNone,
    Level,
    LogTarget,
    AccessFormat,
    /// True for all Python files.
    ReloadCode,
    /// Files beside those of `reload`.
    ReloadFiles,
    /// A function, by the module it can be imported from.
    Hook,
    /// `off`, `v1`, `v2`, `auto`, or true for `auto`.
    ProxyProtocol,
    /// `host:port` or `unix://path`.
    StatsdHost,
    /// True for a socket that is not wanted.
    SocketOff,
}

impl Setting {
    /// The key that does what the setting did.
    pub fn key(&self) -> Option<&'static str> {
        match self.fate {
            Fate::Same(_) => Some(self.name),
            Fate::Renamed(key) | Fate::Better(key, _) => Some(key),
            Fate::Gone(_) => None,
        }
    }

    /// Whether a flag such as `-b` or `--bind` is this setting's.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|own| own == flag)
    }
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

use Fate::{Better, Gone, Renamed, Same};
use Takes::{Many, Maybe, Nothing, One};

const fn row(
    name: &'static str,
    flags: &'static str,
    takes: Takes,
    default: &'static str,
    fate: Fate,
    form: Form,
) -> Setting {
    Setting {
        name,
        flags,
        takes,
        default,
        fate,
        form,
    }
}

/// A setting that has no key.
const fn gone(
    name: &'static str,
    flags: &'static str,
    takes: Takes,
    default: &'static str,
    reason: &'static str,
) -> Setting {
    row(name, flags, takes, default, Gone(reason), Form::Nothing)
}

/// A hook that has no key.
const fn hook(name: &'static str, reason: &'static str) -> Setting {
    gone(name, "", One, "", reason)
}

const TLS: &str =
    "TLS is not part of this version; let a reverse proxy such as nginx or Caddy do it";
const HEAD: &str = "`limits.head` bounds all lines of a head together";
const HTTP2: &str = "HTTP/2 is not part of this version; let a reverse proxy speak it";
const DIRTY: &str = "dirty arbiters do not exist here; run a task queue beside the server";
const SYSLOG: &str = "write `\"syslog\"`, `\"syslog:/dev/log\"` or `\"syslog:udp://host:514\"` for `error` and `access` in `[log]`, each by itself; `rgunicorn migrate` does";
const LOGGING: &str = "the server's logs are not Python's `logging`; see `[log]`, and for what the app logs `[log] python_config`";
const PYTHON_CONFIG: &str = "it is for what the app logs; the server's own logs are not Python's";
const STRICT: &str =
    "requests are always parsed strictly: leniency here is how requests are smuggled";
const PASTE: &str = "PasteDeploy is not supported; write a module that calls `paste.deploy.loadapp` and name it in `app`";
const UWSGI: &str = "only HTTP is spoken; in nginx write `proxy_pass` in place of `uwsgi_pass`";
const FORWARDER: &str = "WSGI apps get `SCRIPT_NAME` of a peer in `[proxy] forwarded_allow_ips` without it; any other header, such as `REMOTE_USER`, has to be sent with hyphens (`Remote-User`, cleared by the proxy when a client sends it), or `[proxy] header_map = \"keep\"`";
const DAEMON: &str =
    "the server stays in the foreground; let systemd, supervisord or a container run it";
const NO_SUCH_NEED: &str = "it is not needed here: remove it";

/// In the order of Gunicorn's manual.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    gone("config", "-c --config", One, "'./gunicorn.conf.py'", "the file is named on the command line: `rgunicorn -c FILE`"),
    row("wsgi_app", "", One, "None", Renamed("app"), Form::App),

    row("bind", "-b --bind", Many, "['127.0.0.1:8000']", Same("addresses of socket units are served beside it"), Form::Bind),
    row("backlog", "--backlog", One, "2048", Same(""), Form::Number),

    row("workers", "-w --workers", One, "1", Same("`\"auto\"` counts the processors, in containers too"), Form::Workers),
    row("worker_class", "-k --worker-class", One, "'sync'", Same("`\"auto\"` looks at the app and at `threads`; gevent-websocket's class is [`\"gevent\"`](choosing-workers.md#websockets-in-wsgi-apps)"), Form::WorkerClass),
    row("threads", "--threads", One, "1", Same(""), Form::Number),
    row("worker_connections", "--worker-connections", One, "1000", Better("limits.connections", "it bounds a worker of every class, also of `asgi`, where Gunicorn minds no such number"), Form::Number),
    row("max_requests", "--max-requests", One, "0", Better("limits.max_requests", "the successor is ready before the worker leaves"), Form::Number),
    row("max_requests_jitter", "--max-requests-jitter", One, "0", Renamed("limits.max_requests_jitter"), Form::Number),
    row("timeout", "-t --timeout", One, "30", Better("timeouts.worker", "for a limit on each request, `[timeouts] request`; the start of a worker has its own, `[timeouts] boot`, 60s"), Form::Seconds),
    row("graceful_timeout", "--graceful-timeout", One, "30", Renamed("timeouts.graceful"), Form::Seconds),
    row("keepalive", "--keep-alive", One, "2", Better("timeouts.keepalive", "an idle connection costs no thread, so the default outlasts load balancers"), Form::Seconds),
    row("asgi_loop", "--asgi-loop", One, "'auto'", Renamed("loop"), Form::Text),
    row("asgi_lifespan", "--asgi-lifespan", One, "'auto'", Better("lifespan", "a start-up that fails keeps the worker from serving"), Form::Text),
    gone("asgi_disconnect_grace_period", "--asgi-disconnect-grace-period", One, "3", "an ASGI app is told of a disconnect at once and ends by itself: remove it"),
    row("websocket_max_message_size", "--websocket-max-message-size", One, "16777216", Renamed("websocket.message_size"), Form::LimitOrNone),
    gone("http_parser", "--http-parser", One, "'auto'", NO_SUCH_NEED),

    row("limit_request_line", "--limit-request-line", One, "4094", Renamed("limits.request_line"), Form::LimitOrNone),
    row("limit_request_fields", "--limit-request-fields", One, "100", Better("limits.headers", HEAD), Form::LimitOrNone),
    row("limit_request_field_size", "--limit-request-field_size", One, "8190", Better("limits.header_size", HEAD), Form::LimitOrNone),

    row("reload", "--reload", Nothing, "False", Better("reload.code", "new code takes over when it is proven: `code = \"**/*.py\"`"), Form::ReloadCode),
    gone("reload_engine", "--reload-engine", One, "'auto'", "changes are seen by inotify: remove it; code on a network or shared mount, of which inotify tells nothing, is rolled in by `[reload] touch` or HUP"),
    row("reload_extra_files", "--reload-extra-file", Many, "[]", Better("reload.code", "patterns of files below `chdir`; one file elsewhere can be `[reload] touch`"), Form::ReloadFiles),
    gone("spew", "--spew", Nothing, "False", "it does not exist here; use `python -m trace`"),
    gone("check_config", "--check-config", Nothing, "False", "it is a command: `rgunicorn check`"),
    gone("print_config", "--print-config", Nothing, "False", "`GET /config` of the admin interface tells all that is in force and where it was set; `rgunicorn check` shows all problems, `rgunicorn schema` all defaults"),

    row("preload_app", "--preload", Nothing, "False", Better("preload", "a reload takes new code with it, too"), Form::Switch),
    gone("sendfile", "--no-sendfile", Nothing, "None", "files are always sent in the fastest way: remove it"),
    gone("reuse_port", "--reuse-port", Nothing, "False", "connections are shared out evenly without it: remove it"),
    row("chdir", "--chdir", One, "", Same("by default the directory of the file"), Form::Directory),
    gone("daemon", "-D --daemon", Nothing, "False", DAEMON),
    row("raw_env", "-e --env", Many, "[]", Better("env", "as a table: `[env]`, then `NAME = \"value\"`"), Form::Variables),
    row("pidfile", "-p --pid", One, "None", Same("a stale one stops nobody"), Form::Text),
    gone("worker_tmp_dir", "--worker-tmp-dir", One, "None", "workers report through shared memory, not through files: remove it"),
    row("user", "-u --user", One, "", Same(""), Form::Text),
    row("group", "-g --group", One, "", Same(""), Form::Text),
    row("umask", "-m --umask", One, "0", Better("socket_mode", "the permissions of UNIX sockets themselves; `umask` here is the app's"), Form::Umask),
    gone("initgroups", "--initgroups", Nothing, "False", "the supplementary groups of `user` are always taken up: remove it"),
    gone("tmp_upload_dir", "", One, "None", "large bodies go to `$TMPDIR`; Gunicorn never used this setting"),
    row("secure_scheme_headers", "", One, "{'X-FORWARDED-PROTOCOL': 'ssl', 'X-FORWARDED-PROTO': 'https', 'X-FORWARDED-SSL': 'on'}", Renamed("proxy.scheme_headers"), Form::Headers),
    row("forwarded_allow_ips", "--forwarded-allow-ips", One, "'127.0.0.1,::1'", Better("proxy.forwarded_allow_ips", "it is believed about `REMOTE_ADDR`, too: see `[proxy] forwarded`"), Form::Words),
    row("pythonpath", "--pythonpath", One, "None", Better("python_path", "it comes after `chdir` on `sys.path`, in Gunicorn before it"), Form::Words),
    gone("paste", "--paste --paster", One, "None", PASTE),
    row("proxy_protocol", "--proxy-protocol", Maybe("auto"), "'off'", Better("proxy.protocol", "a connection that does not begin with it is refused then"), Form::ProxyProtocol),
    row("proxy_allow_ips", "--proxy-allow-from", One, "'127.0.0.1,::1'", Renamed("proxy.protocol_allow_ips"), Form::Words),
    gone("protocol", "--protocol", One, "'http'", UWSGI),
    gone("uwsgi_allow_ips", "--uwsgi-allow-from", One, "'127.0.0.1,::1'", UWSGI),
    gone("raw_paste_global_conf", "--paste-global", Many, "[]", PASTE),
    gone("permit_obsolete_folding", "--permit-obsolete-folding", Nothing, "False", STRICT),
    gone("strip_header_spaces", "--strip-header-spaces", Nothing, "False", STRICT),
    gone("permit_unconventional_http_method", "--permit-unconventional-http-method", Nothing, "False", STRICT),
    gone("permit_unconventional_http_version", "--permit-unconventional-http-version", Nothing, "False", STRICT),
    gone("casefold_http_method", "--casefold-http-method", Nothing, "False", STRICT),
    gone("forwarder_headers", "--forwarder-headers", One, "'SCRIPT_NAME,PATH_INFO'", FORWARDER),
    row("header_map", "--header-map", One, "'drop'", Better("proxy.header_map", "`dangerous` is called `keep`"), Form::HeaderMap),
    row("root_path", "--root-path", One, "''", Better("root_path", "it is put before each path, for a proxy that takes it off; Gunicorn leaves the path as it is"), Form::Text),

    gone("keyfile", "--keyfile", One, "None", TLS),
    gone("certfile", "--certfile", One, "None", TLS),
    gone("ssl_version", "--ssl-version", One, "", TLS),
    gone("cert_reqs", "--cert-reqs", One, "", TLS),
    gone("ca_certs", "--ca-certs", One, "None", TLS),
    gone("suppress_ragged_eofs", "--suppress-ragged-eofs", Nothing, "True", TLS),
    gone("do_handshake_on_connect", "--do-handshake-on-connect", Nothing, "False", TLS),
    gone("ciphers", "--ciphers", One, "None", TLS),
    gone("http_protocols", "--http-protocols", One, "'h1'", HTTP2),
    gone("http2_cleartext", "--http2-cleartext", One, "'off'", HTTP2),
    gone("http2_max_concurrent_streams", "--http2-max-concurrent-streams", One, "100", HTTP2),
    gone("http2_initial_window_size", "--http2-initial-window-size", One, "65535", HTTP2),
    gone("http2_max_frame_size", "--http2-max-frame-size", One, "16384", HTTP2),
    gone("http2_max_header_list_size", "--http2-max-header-list-size", One, "65536", HTTP2),

    row("accesslog", "--access-logfile", One, "None", Better("log.access", "`-` is written `\"stdout\"`, and is the default"), Form::LogTarget),
    gone("disable_redirect_access_to_syslog", "--disable-redirect-access-to-syslog", Nothing, "False", SYSLOG),
    row("access_log_format", "--access-logformat", One, r#"'%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'"#, Better("log.format", "`\"combined\"` is Gunicorn's default; `\"json\"` needs no template"), Form::AccessFormat),
    row("errorlog", "--error-logfile --log-file", One, "'-'", Better("log.error", "`-` is written `\"stderr\"`"), Form::LogTarget),
    row("loglevel", "--log-level", One, "'info'", Renamed("log.level"), Form::Level),
    row("capture_output", "--capture-output", Nothing, "False", Renamed("log.capture_output"), Form::Switch),
    gone("logger_class", "--logger-class", One, "'gunicorn.glogging.Logger'", LOGGING),
    row("logconfig", "--log-config", One, "None", Better("log.python_config", PYTHON_CONFIG), Form::Text),
    gone("logconfig_dict", "", One, "{}", "write it to a file of TOML or JSON, and name that in `[log] python_config`; it is for what the app logs"),
    row("logconfig_json", "--log-config-json", One, "None", Better("log.python_config", PYTHON_CONFIG), Form::Text),
    gone("syslog_addr", "--log-syslog-to", One, "'udp://localhost:514'", SYSLOG),
    gone("syslog", "--log-syslog", Nothing, "False", SYSLOG),
    row("syslog_prefix", "--log-syslog-prefix", One, "None", Better("log.identifier", "lines have this name alone; Gunicorn made `gunicorn.<prefix>.error` and `.access` of it"), Form::Text),
    row("syslog_facility", "--log-syslog-facility", One, "'user'", Renamed("log.syslog_facility"), Form::Text),
    gone("enable_stdio_inheritance", "-R --enable-stdio-inheritance", Nothing, "False", NO_SUCH_NEED),
    row("statsd_host", "--statsd-host", One, "None", Renamed("statsd.host"), Form::StatsdHost),
    row("dogstatsd_tags", "--dogstatsd-tags", One, "''", Better("statsd.tags", "as a list: `[\"env:production\", \"region:eu\"]`"), Form::Words),
    row("statsd_prefix", "--statsd-prefix", One, "''", Renamed("statsd.prefix"), Form::Text),
    gone("enable_backlog_metric", "--enable-backlog-metric", Nothing, "False", "it is always among the metrics, at `/metrics` of the admin interface and for statsd: remove it"),

    row("proc_name", "-n --name", One, "None", Same("by default the app's name"), Form::Text),
    row("default_proc_name", "", One, "'gunicorn'", Renamed("proc_name"), Form::Text),

    hook("on_starting", "the server itself runs no Python; do it before the server starts, such as in `ExecStartPre=`, or when the app is imported"),
    hook("on_reload", "the server itself runs no Python; `[hooks.commands] reload_done` and `reload_failed` run a program"),
    row("when_ready", "", One, "", Better("hooks.when_ready", "it runs when all workers are ready, after each reload too"), Form::Hook),
    hook("pre_fork", "what forks runs no code of yours at that moment; `[hooks] post_fork` runs in each new worker, and `worker.age` numbers them"),
    row("post_fork", "", One, "", Renamed("hooks.post_fork"), Form::Hook),
    row("post_worker_init", "", One, "", Renamed("hooks.worker_init"), Form::Hook),
    hook("worker_int", "no signal reaches the app; `[hooks] worker_exit` runs in each worker that leaves"),
    row("worker_abort", "", One, "", Better("hooks.worker_abort", "the Python stacks of a stuck worker are logged without it"), Form::Hook),
    hook("pre_exec", "SIGUSR2 replaces the server in place and starts no second one: nothing has to be prepared"),
    row("pre_request", "", One, "", Renamed("hooks.pre_request"), Form::Hook),
    row("post_request", "", One, "", Renamed("hooks.post_request"), Form::Hook),
    row("child_exit", "", One, "", Renamed("hooks.child_exit"), Form::Hook),
    row("worker_exit", "", One, "", Renamed("hooks.worker_exit"), Form::Hook),
    hook("nworkers_changed", "the log tells how many workers are wanted; `[hooks.commands]` runs programs for what happens to them"),
    row("on_exit", "", One, "", Better("hooks.on_exit", "a program can be run too: `[hooks.commands] on_exit`"), Form::Hook),
    hook("ssl_context", TLS),

    gone("dirty_apps", "--dirty-app", Many, "[]", DIRTY),
    gone("dirty_workers", "--dirty-workers", One, "0", DIRTY),
    gone("dirty_timeout", "--dirty-timeout", One, "300", DIRTY),
    gone("dirty_threads", "--dirty-threads", One, "1", DIRTY),
    gone("dirty_graceful_timeout", "--dirty-graceful-timeout", One, "30", DIRTY),
    hook("on_dirty_starting", DIRTY),
    hook("dirty_post_fork", DIRTY),
    hook("dirty_worker_init", DIRTY),
    hook("dirty_worker_exit", DIRTY),

    row("control_socket", "--control-socket", One, "", Better("admin.socket", "it speaks HTTP; in place of `gunicornc`: `rgunicorn status`, `scale`, `worker kill`, `reload`, `stop`"), Form::Text),
    gone("control_socket_mode", "--control-socket-mode", One, "384", "the socket of `[admin]` is always for the server's user and root alone"),
    row("control_socket_disable", "--no-control-socket", Nothing, "False", Better("admin.socket", "written `socket = \"off\"`"), Form::SocketOff),
];
