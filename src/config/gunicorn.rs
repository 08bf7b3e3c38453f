//! All settings of Gunicorn 27 that are not keys of the same name here, and what to write in their place.

use super::schema;

/// What became of a Gunicorn setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Another key, by its full name.
    Key(&'static str),
    /// Another key, with a remark.
    KeyBut(&'static str, &'static str),
    /// No key: a sentence says why or what to do.
    Gone(&'static str),
}

use Fate::{Gone, Key, KeyBut};

const TLS: &str =
    "TLS is not part of this version; let a reverse proxy such as nginx or Caddy do it";
const HTTP2: &str = "HTTP/2 is not part of this version; let a reverse proxy speak it";
const DIRTY: &str = "dirty arbiters do not exist here; run a task queue beside the server";
const SYSLOG: &str =
    "syslog is not written; systemd or the container's runtime collects the standard output";
const LOGGING: &str = "the server's logs are not Python's `logging`; see `[log]`, and configure the app's logging in the app";
const STRICT: &str =
    "requests are always parsed strictly: leniency here is how requests are smuggled";
const PASTE: &str = "PasteDeploy is not supported; write a module that calls `paste.deploy.loadapp` and name it in `app`";
const UWSGI: &str = "only HTTP is spoken; in nginx write `proxy_pass` in place of `uwsgi_pass`";
const DAEMON: &str =
    "rgunicorn stays in the foreground; let systemd, supervisord or a container run it";
const NO_SUCH_NEED: &str = "it is not needed here: remove it";

#[rustfmt::skip]
const SETTINGS: &[(&str, Fate)] = &[
    ("config", Gone("the file is named on the command line: `rgunicorn -c FILE`")),
    ("wsgi_app", Key("app")),
    ("worker_connections", Key("limits.connections")),
    ("max_requests", Key("limits.max_requests")),
    ("max_requests_jitter", Key("limits.max_requests_jitter")),
    ("timeout", KeyBut("timeouts.worker", "for a limit on each request, `[timeouts] request`")),
    ("graceful_timeout", Key("timeouts.graceful")),
    ("keepalive", Key("timeouts.keepalive")),
    ("limit_request_line", Key("limits.request_line")),
    ("limit_request_fields", Key("limits.headers")),
    ("limit_request_field_size", Key("limits.header_size")),
    ("reload_engine", Gone("changes are always seen by inotify: remove it")),
    ("reload_extra_files", Key("reload.code")),
    ("spew", Gone("it does not exist here; use `python -m trace`")),
    ("check_config", Gone("it is a command: `rgunicorn check`")),
    ("print_config", Gone("it does not exist; `rgunicorn check` shows all problems, `rgunicorn schema` all defaults")),
    ("preload_app", KeyBut("preload", "a reload takes new code with it, too")),
    ("sendfile", Gone("files are always sent in the fastest way: remove it")),
    ("reuse_port", Gone("connections are shared out evenly without it: remove it")),
    ("daemon", Gone(DAEMON)),
    ("raw_env", KeyBut("env", "as a table: `[env]`, then `NAME = \"value\"`")),
    ("worker_tmp_dir", Gone("workers report through shared memory, not through files: remove it")),
    ("tmp_upload_dir", Gone("large bodies go to `$TMPDIR`; Gunicorn never used this setting")),
    ("initgroups", Gone("the supplementary groups of `user` are always taken up: remove it")),
    ("secure_scheme_headers", Key("proxy.scheme_headers")),
    ("forwarded_allow_ips", KeyBut("proxy.forwarded_allow_ips", "it is believed about `REMOTE_ADDR`, too: see `[proxy] forwarded`")),
    ("forwarder_headers", Gone("`SCRIPT_NAME` of a peer in `[proxy] forwarded_allow_ips` is always believed, and no other: remove it")),
    ("header_map", KeyBut("proxy.header_map", "`dangerous` is called `keep`")),
    ("pythonpath", Key("python_path")),
    ("paste", Gone(PASTE)),
    ("raw_paste_global_conf", Gone(PASTE)),
    ("proxy_protocol", KeyBut("proxy.protocol", "`true` is written `\"auto\"`")),
    ("proxy_allow_ips", Key("proxy.protocol_allow_ips")),
    ("protocol", Gone(UWSGI)),
    ("uwsgi_allow_ips", Gone(UWSGI)),
    ("http_parser", Gone(NO_SUCH_NEED)),
    ("permit_obsolete_folding", Gone(STRICT)),
    ("strip_header_spaces", Gone(STRICT)),
    ("permit_unconventional_http_method", Gone(STRICT)),
    ("permit_unconventional_http_version", Gone(STRICT)),
    ("casefold_http_method", Gone(STRICT)),
    ("asgi_loop", Key("loop")),
    ("asgi_lifespan", Key("lifespan")),
    ("asgi_disconnect_grace_period", Gone("an ASGI app is told of a disconnect at once and ends by itself: remove it")),
    ("websocket_max_message_size", Key("websocket.message_size")),
    ("keyfile", Gone(TLS)),
    ("certfile", Gone(TLS)),
    ("ssl_version", Gone(TLS)),
    ("cert_reqs", Gone(TLS)),
    ("ca_certs", Gone(TLS)),
    ("suppress_ragged_eofs", Gone(TLS)),
    ("do_handshake_on_connect", Gone(TLS)),
    ("ciphers", Gone(TLS)),
    ("http_protocols", Gone(HTTP2)),
    ("http2_cleartext", Gone(HTTP2)),
    ("http2_max_concurrent_streams", Gone(HTTP2)),
    ("http2_initial_window_size", Gone(HTTP2)),
    ("http2_max_frame_size", Gone(HTTP2)),
    ("http2_max_header_list_size", Gone(HTTP2)),
    ("accesslog", KeyBut("log.access", "`-` is written `\"stdout\"`")),
    ("access_log_format", KeyBut("log.format", "`\"combined\"` is Gunicorn's default")),
    ("errorlog", KeyBut("log.error", "`-` is written `\"stderr\"`")),
    ("loglevel", Key("log.level")),
    ("capture_output", Gone("what the app prints goes where the server's output goes: remove it")),
    ("enable_stdio_inheritance", Gone(NO_SUCH_NEED)),
    ("logger_class", Gone(LOGGING)),
    ("logconfig", Gone(LOGGING)),
    ("logconfig_dict", Gone(LOGGING)),
    ("logconfig_json", Gone(LOGGING)),
    ("disable_redirect_access_to_syslog", Gone(SYSLOG)),
    ("syslog", Gone(SYSLOG)),
    ("syslog_addr", Gone(SYSLOG)),
    ("syslog_prefix", Gone(SYSLOG)),
    ("syslog_facility", Gone(SYSLOG)),
    ("statsd_host", Key("statsd.host")),
    ("statsd_prefix", Key("statsd.prefix")),
    ("dogstatsd_tags", KeyBut("statsd.tags", "as a list: `[\"env:production\", \"region:eu\"]`")),
    ("enable_backlog_metric", Gone("it is always among the metrics at `/metrics` of the admin interface: remove it")),
    ("default_proc_name", Key("proc_name")),
    ("on_starting", Gone("the server itself runs no Python; do it before the server starts, such as in `ExecStartPre=`, or when the app is imported")),
    ("on_reload", Gone("the server itself runs no Python; `[hooks.commands] reload_done` and `reload_failed` run a program")),
    ("when_ready", KeyBut("hooks.when_ready", "it runs when all workers are ready, after each reload too")),
    ("pre_fork", Gone("what forks runs no code of yours at that moment; `[hooks] post_fork` runs in each new worker, and `worker.age` numbers them")),
    ("post_fork", Key("hooks.post_fork")),
    ("post_worker_init", Key("hooks.worker_init")),
    ("worker_int", Gone("no signal reaches the app; `[hooks] worker_exit` runs in each worker that leaves")),
    ("worker_abort", KeyBut("hooks.worker_abort", "the Python stacks of a stuck worker are logged without it")),
    ("pre_exec", Gone("SIGUSR2 replaces the server in place and starts no second one: nothing has to be prepared")),
    ("pre_request", Key("hooks.pre_request")),
    ("post_request", Key("hooks.post_request")),
    ("child_exit", Key("hooks.child_exit")),
    ("worker_exit", Key("hooks.worker_exit")),
    ("nworkers_changed", Gone("the log tells how many workers are wanted; `[hooks.commands]` runs programs for what happens to them")),
    ("on_exit", KeyBut("hooks.on_exit", "a program can be run too: `[hooks.commands] on_exit`")),
    ("ssl_context", Gone(TLS)),
    ("dirty_apps", Gone(DIRTY)),
    ("dirty_workers", Gone(DIRTY)),
    ("dirty_timeout", Gone(DIRTY)),
    ("dirty_threads", Gone(DIRTY)),
    ("dirty_graceful_timeout", Gone(DIRTY)),
    ("on_dirty_starting", Gone(DIRTY)),
    ("dirty_post_fork", Gone(DIRTY)),
    ("dirty_worker_init", Gone(DIRTY)),
    ("dirty_worker_exit", Gone(DIRTY)),
    ("control_socket", Key("admin.socket")),
    ("control_socket_mode", Gone("the socket of `[admin]` is always for the server's user and root alone")),
    ("control_socket_disable", Gone("write `socket = \"off\"` in `[admin]`")),
];

/// The paths by which Gunicorn and uvicorn name worker classes that exist here.
const WORKER_CLASSES: &[(&str, &str)] = &[
    ("gunicorn.workers.sync.SyncWorker", "sync"),
    ("gunicorn.workers.gthread.ThreadWorker", "gthread"),
    ("gunicorn.workers.gasgi.ASGIWorker", "asgi"),
    ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
    ("gunicorn.workers.ggevent.GeventPyWSGIWorker", "gevent"),
    ("gevent_wsgi", "gevent"),
    ("gevent_pywsgi", "gevent"),
    ("gunicorn.workers.geventlet.EventletWorker", "eventlet"),
    ("uvicorn.workers.UvicornWorker", "asgi"),
    ("uvicorn.workers.UvicornH11Worker", "asgi"),
    ("uvicorn_worker.UvicornWorker", "asgi"),
    ("uvicorn_worker.UvicornH11Worker", "asgi"),
];

/// The class of ours that a path means.
pub(super) fn worker_class(path: &str) -> Option<&'static str> {
    let (_, class) = WORKER_CLASSES.iter().find(|(known, _)| *known == path)?;
    Some(class)
}

/// The key that does what Gunicorn's setting of this name did.
pub(super) fn key(name: &str) -> Option<&'static str> {
    match SETTINGS.iter().find(|(setting, _)| *setting == name)? {
        (_, Key(key) | KeyBut(key, _)) => Some(key),
        (_, Gone(_)) => None,
    }
}

/// What to tell somebody who wrote Gunicorn's name, in whatever table.
pub(super) fn advice(name: &str) -> Option<String> {
    let (_, fate) = SETTINGS.iter().find(|(setting, _)| *setting == name)?;
    Some(match fate {
        Key(key) => format!("Gunicorn's `{name}` is {} here", place(key)),
        KeyBut(key, remark) => format!("Gunicorn's `{name}` is {} here; {remark}", place(key)),
        Gone(reason) => format!("Gunicorn's `{name}` is not here: {reason}"),
    })
}

/// The same for a flag of Gunicorn's command line, such as `--log-config`.
pub fn advice_on_flag(flag: &str) -> Option<String> {
    let bare = |name: &str| name.replace(['-', '_'], "");
    let (name, _) = SETTINGS
        .iter()
        .find(|(setting, _)| bare(setting) == bare(flag))?;
    advice(name)
}

/// How a key is written in the file: `[timeouts] keepalive`.
pub(super) fn place(key: &str) -> String {
    match key.split_once('.') {
        Some((table, name)) => format!("`[{table}] {name}`"),
        None if schema::names_in("").any(|name| name == key) => format!("`{key}`"),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings of Gunicorn whose name and meaning are the same here.
    const SAME: &[&str] = &[
        "bind",
        "backlog",
        "workers",
        "worker_class",
        "threads",
        "reload",
        "chdir",
        "pidfile",
        "user",
        "group",
        "umask",
        "proc_name",
        "root_path",
    ];

    #[test]
    fn all_120_settings_of_gunicorn_are_accounted_for() {
        assert_eq!(SETTINGS.len() + SAME.len(), 120);
        let tops: Vec<_> = schema::names_in("").collect();
        assert!(SAME.iter().all(|name| tops.contains(name)));
        assert!(SETTINGS.iter().all(|(name, _)| !tops.contains(name)));
    }

    #[test]
    fn the_keys_it_points_at_exist() {
        for (name, fate) in SETTINGS {
            if let Key(key) | KeyBut(key, _) = fate {
                assert!(
                    schema::keys().iter().any(|known| known == key),
                    "{name} -> {key}"
                );
            }
        }
    }
}
