//! From what was written to what runs: texts are parsed, keys are checked against each other. What is on the machine
//! is asked through [`Machine`] alone.

mod admin;
mod hooks;
mod log;
mod network;
mod pattern;
mod place;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    AppRef, Config, HealthCheck, Limits, Reload, Timeouts, WebSocket, WorkerClass,
    file::{self, Amount, File},
    layer::Places,
    machine::Machine,
    problem::Problem,
};

/// More workers than this are never chosen by `"auto"`: from there on memory decides.
const AUTO_WORKERS_MAX: u16 = 32;

/// Collects problems; every value has a stand-in, so that all get looked at.
pub(super) struct Resolver<'l> {
    pub(super) places: &'l Places,
    pub(super) machine: &'l dyn Machine,
    pub(super) problems: Vec<Problem>,
}

impl Resolver<'_> {
    /// `path` is that of the file, if there is one.
    pub(super) fn config(&mut self, file: File, path: Option<&Path>) -> Config {
        let chdir = self.chdir(file.chdir.as_deref(), path);
        let app = self.app(file.app.as_deref());
        let workers = workers(&file, self.machine.processors());
        self.check_threads(file.worker_class, file.threads);
        let proc_name = file
            .proc_name
            .unwrap_or_else(|| without_call(&app.text).to_owned());
        Config {
            bind: self.bind(&file.bind.0, &chdir),
            workers,
            threads: file.threads,
            worker_class: file.worker_class,
            event_loop: file.event_loop,
            lifespan: file.lifespan,
            root_path: file.root_path,
            preload: file.preload,
            merge_memory: file.merge_memory,
            python: file.python.map(|text| self.python(&text, &chdir)),
            python_path: join_all(&chdir, &file.python_path.0),
            user: self.user(file.user),
            group: self.group(file.group),
            umask: file.umask.map(|umask| self.permissions("/umask", umask.0)),
            pidfile: file
                .pidfile
                .map(|path| self.file_to_make("/pidfile", chdir.join(path))),
            backlog: file.backlog,
            socket_mode: self.permissions("/socket_mode", file.socket_mode.0),
            env: self.env(file.env),
            timeouts: self.timeouts(&file.timeouts),
            limits: self.limits(&file.limits),
            log: self.log(&file.log, &chdir, &proc_name),
            reload: self.reload(&file.reload, workers, &chdir),
            proxy: self.proxy(file.proxy),
            websocket: websocket(&file.websocket),
            hooks: self.hooks(file.hooks),
            statsd: self.statsd(file.statsd, &chdir),
            admin: self.admin(file.admin, &chdir),
            app,
            chdir,
            proc_name,
        }
    }

    fn problem(&mut self, pointer: &str, title: String, label: &str, help: Option<String>) {
        let excerpt = self.places.find(pointer).map(|place| place.at_value());
        self.problems
            .push(Problem::new(title).at(excerpt).label(label).help(help));
    }

    fn problem_with_key(&mut self, pointer: &str, title: String, help: Option<String>) {
        let excerpt = self.places.find(pointer).map(|place| place.at_key());
        self.problems
            .push(Problem::new(title).at(excerpt).help(help));
    }

    /// A missing app is the loader's to report: it knows whether something stood in its place.
    fn app(&mut self, written: Option<&str>) -> AppRef {
        let stand_in = AppRef {
            text: String::new(),
            module: String::new(),
            attribute: String::new(),
            factory_arguments: None,
        };
        match written.map(AppRef::parse) {
            Some(Ok(app)) => app,
            Some(Err(reason)) => {
                self.problem("/app", format!("the app reference {reason}"), "", None);
                stand_in
            }
            None => stand_in,
        }
    }

    /// Most classes call the app in one thread.
    fn check_threads(&mut self, class: WorkerClass, threads: u16) {
        const GREENLETS: &str =
            "leave `threads` out: `limits.connections` says how many requests run at once";
        let (class, help) = match class {
            WorkerClass::Auto | WorkerClass::Gthread => return,
            WorkerClass::Sync => (
                "a `sync`",
                "write `worker_class = \"gthread\"`, or leave it out: it follows `threads`",
            ),
            WorkerClass::Asgi => (
                "an `asgi`",
                "leave `threads` out: the event loop serves any number of requests at once",
            ),
            WorkerClass::Gevent => ("a `gevent`", GREENLETS),
            WorkerClass::Eventlet => ("an `eventlet`", GREENLETS),
        };
        if threads > 1 {
            let title =
                format!("{class} worker calls the app in one thread, but `threads` is {threads}");
            self.problem("/worker_class", title, "", Some(help.to_owned()));
        }
    }

    fn permissions(&mut self, pointer: &str, bits: u32) -> u32 {
        if bits > 0o777 {
            let key = &pointer[1..];
            self.problem(
                pointer,
                format!("`{key}` must be from \"000\" to \"777\""),
                "too much",
                None,
            );
        }
        bits
    }

    /// What no process can have in its environment.
    fn env(&mut self, env: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (name, value) in &env {
            let pointer = format!("/env/{}", super::layer::escape(name));
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let title = format!("`{name}` cannot be an environment variable");
                self.problem_with_key(&pointer, title, None);
            }
        }
        env
    }

    fn timeouts(&mut self, timeouts: &file::Timeouts) -> Timeouts {
        if !timeouts.worker.0.is_zero() && timeouts.worker.0 < Duration::from_secs(1) {
            let title = "`timeouts.worker` must be at least 1s, or 0 for never";
            self.problem("/timeouts/worker", title.to_owned(), "too little", None);
        }
        Timeouts {
            boot: timeouts.boot.0,
            worker: timeouts.worker.0,
            request: timeouts.request.0,
            graceful: timeouts.graceful.0,
            keepalive: timeouts.keepalive.0,
            header: timeouts.header.0,
            body: timeouts.body.0,
            write: timeouts.write.0,
        }
    }

    fn limits(&mut self, limits: &file::Limits) -> Limits {
        const WORKER_MEMORY_MIN: u64 = 16 << 20;
        if (1..WORKER_MEMORY_MIN).contains(&limits.worker_memory.0) {
            let title = "`limits.worker_memory` must be at least 16MiB, or 0 for no limit";
            let help = "a Python interpreter alone takes about 10MiB";
            self.problem(
                "/limits/worker_memory",
                title.to_owned(),
                "too little",
                Some(help.to_owned()),
            );
        }
        for (key, line) in [
            ("request_line", limits.request_line),
            ("header_size", limits.header_size),
        ] {
            if line.0 > limits.head.0 {
                let title = format!(
                    "`limits.{key}` is larger than `limits.head`, {}",
                    limits.head
                );
                let help = "a line of that size could never come: raise `head`, or lower this";
                self.problem(
                    &format!("/limits/{key}"),
                    title,
                    "larger than the whole head",
                    Some(help.to_owned()),
                );
            }
        }
        if limits.max_requests == 0 && limits.max_requests_jitter > 0 {
            let title = "`limits.max_requests_jitter` has no effect without `limits.max_requests`";
            self.problem("/limits/max_requests_jitter", title.to_owned(), "", None);
        }
        Limits {
            request_line: small(limits.request_line.0),
            headers: limits.headers,
            header_size: small(limits.header_size.0),
            head: small(limits.head.0),
            body: limits.body.0,
            connections: limits.connections,
            max_requests: limits.max_requests,
            max_requests_jitter: limits.max_requests_jitter,
            worker_memory: limits.worker_memory.0,
        }
    }

    fn reload(&mut self, reload: &file::Reload, workers: u16, chdir: &Path) -> Reload {
        let code = self.patterns("code", &reload.code.0, chdir);
        let ignore = self.patterns("ignore", &reload.ignore.0, chdir);
        if reload.code.0.is_empty() && !reload.ignore.0.is_empty() {
            let title = "`reload.ignore` has no effect without `reload.code`";
            self.problem("/reload/ignore", title.to_owned(), "", None);
        }
        if let Some(check) = &reload.health_check
            && !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&check.timeout.0)
        {
            let title = "`timeout` of `reload.health_check` must be from 100ms to 1h";
            self.problem("/reload/health_check/timeout", title.to_owned(), "", None);
        }
        Reload {
            watch: reload.watch,
            code,
            ignore,
            touch: reload.touch.as_ref().map(|path| chdir.join(path)),
            debounce: reload.debounce.0,
            surge: surge(&reload.surge, workers),
            health_check: reload.health_check.clone().map(HealthCheck::from),
            probation: reload.probation.0,
        }
    }
}

impl From<file::HealthCheck> for HealthCheck {
    fn from(written: file::HealthCheck) -> Self {
        Self {
            path: written.path,
            host: written.host,
            status: written.status,
            tries: written.tries,
            timeout: written.timeout.0,
        }
    }
}

/// Arguments may hold what `ps` should not show.
fn without_call(app: &str) -> &str {
    app.split('(').next().unwrap_or(app)
}

fn join_all(directory: &Path, paths: &[String]) -> Vec<PathBuf> {
    paths.iter().map(|path| directory.join(path)).collect()
}

fn workers(file: &File, processors: u16) -> u16 {
    let processors = processors.max(1);
    let fills_waits = file.threads > 1
        || matches!(
            file.worker_class,
            WorkerClass::Asgi | WorkerClass::Gevent | WorkerClass::Eventlet
        );
    match &file.workers {
        Amount::Number(number) => *number,
        Amount::Auto | Amount::PerCent(_) if fills_waits => processors.min(AUTO_WORKERS_MAX),
        Amount::Auto | Amount::PerCent(_) => processors
            .saturating_mul(2)
            .saturating_add(1)
            .min(AUTO_WORKERS_MAX),
    }
}

fn websocket(written: &file::WebSocket) -> WebSocket {
    WebSocket {
        message_size: written.message_size.0,
        ping_interval: written.ping_interval.0,
        ping_timeout: written.ping_timeout.0,
        compression: written.compression,
    }
}

/// Rounded up, as Kubernetes does, so that a roll can always move.
fn surge(written: &Amount, workers: u16) -> u16 {
    match written {
        Amount::Number(number) => *number,
        Amount::PerCent(share) => (u32::from(workers) * u32::from(*share))
            .div_ceil(100)
            .clamp(1, 256) as u16,
        Amount::Auto => 1,
    }
}

/// The schema bounds these to 64 KiB.
fn small(bytes: u64) -> u32 {
    bytes.try_into().unwrap_or(u32::MAX)
}
