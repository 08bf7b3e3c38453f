//! What the tests of the shell share.

use std::{collections::BTreeMap, time::Duration};

use crate::config::{
    Admin, AdminSocket, AppRef, Bind, Config, ErrorFormat, EventLoop, Facility, ForwardedBy,
    HeaderMap, Hooks, Lifespan, Limits, Log, LogFormat, LogLevel, LogTarget, Proxy, ProxyProtocol,
    Reload, TcpBind, Timeouts, Trusted, WebSocket, WorkerClass,
};

/// A configuration that a test changes to its needs.
pub(super) fn config() -> Config {
    Config {
        app: AppRef {
            text: "shop".to_owned(),
            module: "shop".to_owned(),
            attribute: "application".to_owned(),
            factory_arguments: None,
        },
        bind: vec![Bind::Tcp(TcpBind {
            host: "127.0.0.1".to_owned(),
            port: 0,
        })],
        workers: 2,
        threads: 1,
        worker_class: WorkerClass::Sync,
        event_loop: EventLoop::Auto,
        lifespan: Lifespan::Auto,
        root_path: String::new(),
        preload: false,
        python: None,
        chdir: "/".into(),
        python_path: Vec::new(),
        user: None,
        group: None,
        umask: None,
        pidfile: None,
        proc_name: "shop".to_owned(),
        backlog: 64,
        socket_mode: 0o600,
        env: BTreeMap::new(),
        timeouts: Timeouts {
            boot: Duration::from_secs(30),
            worker: Duration::from_secs(60),
            request: Duration::ZERO,
            graceful: Duration::from_secs(30),
            keepalive: Duration::from_secs(75),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
        },
        limits: Limits {
            request_line: 8190,
            headers: 100,
            header_size: 8190,
            body: 1 << 20,
            connections: 100,
            max_requests: 0,
            max_requests_jitter: 0,
            worker_memory: 0,
        },
        log: Log {
            access: LogTarget::Off,
            error: LogTarget::Stderr,
            level: LogLevel::Info,
            format: LogFormat::Combined,
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
            watch: true,
            code: Vec::new(),
            ignore: Vec::new(),
            touch: None,
            debounce: Duration::from_millis(50),
            surge: 1,
            health_check: None,
            probation: Duration::ZERO,
        },
        proxy: Proxy {
            forwarded_allow_ips: Trusted::Networks(Vec::new()),
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
        statsd: crate::config::Statsd::default(),
        admin: Admin {
            socket: AdminSocket::Off,
            ..Admin::default()
        },
    }
}
