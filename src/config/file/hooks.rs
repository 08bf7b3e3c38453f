//! `[hooks]` and `[hooks.commands]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Texts, schemas};

/// Functions of yours that the server calls at certain moments, as `module:function`. What each is called with, and what
/// its arguments offer, is in `docs/hooks.md`.
///
/// They are imported while a new generation boots, and checked for the arguments that they take: where one does not fit, a
/// reload is rejected and what serves goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Called as `post_fork(server, worker)` in each new worker, before the app is imported there.
    ///
    /// The place to let go of what must not be shared with other workers where `preload` is on: connections, random
    /// numbers. When it raises, the worker has not booted. Not set by default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:post_fork")]
    pub post_fork: Option<String>,

    /// Called as `worker_init(worker)` in each new worker, when the app is imported and before it serves.
    ///
    /// The place to warm up. Gunicorn calls it `post_worker_init`. When it raises, the worker has not booted. Not set by
    /// default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:warm_up")]
    pub worker_init: Option<String>,

    /// Called as `worker_exit(server, worker)` in a worker that leaves, after its last request.
    ///
    /// It has `timeouts.graceful`. A worker that crashes or is killed does not come to it: see `child_exit`. Not set by
    /// default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:flush")]
    pub worker_exit: Option<String>,

    /// Called as `worker_abort(worker)` in a worker that is stuck (`timeouts.worker`), before it is ended.
    ///
    /// On a thread of its own, and only where the interpreter is not held by what is stuck; after 1.5s the worker dies in
    /// any case. Not set by default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:worker_abort")]
    pub worker_abort: Option<String>,

    /// Called as `child_exit(server, worker)` after a worker is gone, however it went.
    ///
    /// The place for `prometheus_client.multiprocess.mark_process_dead(worker.pid)`. Runs in a process of its own that is
    /// forked for it and has 4s, so that nothing waits for it. Not set by default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:child_exit")]
    pub child_exit: Option<String>,

    /// Called as `pre_request(worker, req)` before the app is called for a request.
    ///
    /// What it does costs every request; not set, it costs nothing, which is the default. When it raises, the log says so
    /// and the request goes on. Not called for WebSockets of ASGI apps.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:pre_request")]
    pub pre_request: Option<String>,

    /// Called as `post_request(worker, req, environ, resp)` after the app has answered a request; the last one or two may be left out.
    ///
    /// What it does costs every request; not set, it costs nothing, which is the default. Not called for WebSockets of ASGI apps.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:post_request")]
    pub post_request: Option<String>,

    /// Called as `when_ready(server)` when all workers of a generation are ready and it serves: after the start and after each reload that started workers.
    ///
    /// Runs as `child_exit` does. Not set by default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:when_ready")]
    pub when_ready: Option<String>,

    /// Called as `on_exit(server)` when the server stops, after the last worker has gone.
    ///
    /// Runs as `child_exit` does. Not set by default.
    #[schemars(schema_with = "schemas::hook", example = &"mysite.hooks:on_exit")]
    pub on_exit: Option<String>,

    // The manual is with the type.
    pub commands: HookCommands,
}

/// Programs that the server runs when something happens, each as a list of the program and its arguments. There is no shell.
///
/// What happened stands in the program's environment: `HOOK_EVENT`, `HOOK_SERVER_PID` and, where they apply,
/// `HOOK_GENERATION`, `HOOK_WORKER`, `HOOK_WORKER_PID`, `HOOK_RELOAD` and `HOOK_REASON`. It runs with the rights of the server, in
/// `chdir`; what it prints goes to the error log. The server does not wait for it: it has 30s, and four run at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HookCommands {
    /// When all workers of a generation are ready and it serves: after the start and after each reload that started workers.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["touch", "/run/mysite/ready"])]
    pub when_ready: Option<Texts>,

    /// When a reload is in force. `HOOK_RELOAD` is its number.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["/usr/local/bin/announce", "new version"])]
    pub reload_done: Option<Texts>,

    /// When a reload was rejected, and what served before goes on. `HOOK_REASON` says why.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["/usr/local/bin/alert", "reload failed"])]
    pub reload_failed: Option<Texts>,

    /// When a reload did not pass its probation and is taken back. `HOOK_REASON` says why.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["/usr/local/bin/alert", "rolled back"])]
    pub rolled_back: Option<Texts>,

    /// When a worker died that nobody had told to leave, or that was stuck. `HOOK_REASON` says of what.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["/usr/local/bin/alert", "worker died"])]
    pub worker_died: Option<Texts>,

    /// When a worker is gone, however it went. `HOOK_REASON` says of what it died.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["/usr/local/bin/forget-worker"])]
    pub child_exit: Option<Texts>,

    /// When the server stops, after the last worker has gone. The server waits up to 5s for it, and for all others that still run.
    ///
    /// Not set by default.
    #[schemars(schema_with = "schemas::command", example = ["rm", "-f", "/run/mysite/ready"])]
    pub on_exit: Option<Texts>,
}
