//! A configuration with every value small and plain, for tests that set what they are about.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rgunicorn::config::{
    Admin, AdminSocket, AppRef, Config, ErrorFormat, EventLoop, Facility, ForwardedBy, HeaderMap,
    Hooks, Lifespan, Limits, Log, LogFormat, LogLevel, LogTarget, Proxy, ProxyProtocol, Reload,
    Statsd, Timeouts, Trusted, WebSocket, WorkerClass,
};

/// `module:attribute` or `module:attribute(arguments)`, served from `folder`.
pub(crate) fn config(app: &str, folder: &Path) -> Config {
    let second = Duration::from_secs(1);
    Config {
        app: app_ref(app),
        bind: Vec::new(),
        workers: 1,
        threads: 1,
        worker_class: WorkerClass::Sync,
        event_loop: EventLoop::Auto,
        lifespan: Lifespan::Auto,
        root_path: String::new(),
        preload: false,
        python: None,
        chdir: folder.to_owned(),
        python_path: Vec::new(),
        user: None,
        group: None,
        umask: None,
        pidfile: None,
        proc_name: app.to_owned(),
        backlog: 16,
        socket_mode: 0o600,
        env: BTreeMap::new(),
        timeouts: Timeouts {
            boot: second,
            worker: second,
            request: second,
            graceful: second,
            keepalive: second,
            header: second,
            body: second,
            write: second,
        },
        limits: Limits {
            request_line: 4096,
            headers: 100,
            header_size: 4096,
            body: 0,
            connections: 100,
            max_requests: 0,
            max_requests_jitter: 0,
            worker_memory: 0,
        },
        log: Log {
            access: LogTarget::Off,
            error: LogTarget::File(folder.join("error.log")),
            level: LogLevel::Info,
            format: LogFormat::Common,
            error_format: ErrorFormat::Text,
            exclude: Vec::new(),
            request_id: false,
            request_id_header: String::new(),
            request_id_response: false,
            slow: Duration::ZERO,
            syslog_facility: Facility::User,
            identifier: "test".to_owned(),
            python_config: None,
            capture_output: false,
        },
        reload: Reload {
            watch: false,
            code: Vec::new(),
            ignore: Vec::new(),
            touch: None,
            debounce: second,
            surge: 1,
            health_check: None,
            probation: Duration::ZERO,
        },
        proxy: Proxy {
            forwarded_allow_ips: Trusted::Everyone,
            scheme_headers: Vec::new(),
            header_map: HeaderMap::Drop,
            forwarded: ForwardedBy::Off,
            forwarded_host: false,
            protocol: ProxyProtocol::Off,
            protocol_allow_ips: Trusted::Networks(Vec::new()),
        },
        websocket: WebSocket {
            message_size: 1 << 20,
            ping_interval: Duration::ZERO,
            ping_timeout: Duration::from_secs(1),
            compression: false,
        },
        hooks: Hooks::default(),
        statsd: Statsd::default(),
        admin: Admin {
            socket: AdminSocket::Off,
            ..Admin::default()
        },
    }
}

fn app_ref(text: &str) -> AppRef {
    let (module, attribute) = text.split_once(':').unwrap_or((text, "application"));
    let (attribute, arguments) = match attribute.split_once('(') {
        Some((name, rest)) => (name, Some(rest.trim_end_matches(')').to_owned())),
        None => (attribute, None),
    };
    AppRef {
        text: text.to_owned(),
        module: module.to_owned(),
        attribute: attribute.to_owned(),
        factory_arguments: arguments,
    }
}
