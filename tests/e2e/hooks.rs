//! `[hooks]`: functions of the user's at the moments in which Gunicorn calls them, in every class of worker, and what happens
//! when one is wrong, late or dead.

mod commands;

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{APP, DEADLINE, Server, Setup, eventually, phrases::REJECTED, within};

const HOOKS: &str = include_str!("apps/hooks.py");
const ASGI_APP: &str = include_str!("apps/asgi.py");
const CLASSES: [&str; 5] = ["sync", "gthread", "asgi", "gevent", "eventlet"];
const ALL: [&str; 9] = [
    "post_fork",
    "worker_init",
    "worker_exit",
    "worker_abort",
    "child_exit",
    "pre_request",
    "post_request",
    "when_ready",
    "on_exit",
];

/// `[hooks]` with these, each a function of its name in `hooks.py`.
fn table(names: &[&str]) -> String {
    let lines: String = names
        .iter()
        .map(|name| format!("{name} = 'hooks:{name}'\n"))
        .collect();
    format!("[hooks]\n{lines}")
}

/// An app that answers with a header of its own.
fn setup(class: &str, config: &str) -> Setup {
    let app = match class {
        "asgi" => ASGI_APP.replace(
            "await answer(send, f\"hello from {path}\")",
            "await answer(send, f\"hello from {path}\", 200, [(b'x-b', b'2')])",
        ),
        _ => APP.replace(
            "return answer(start_response, f\"hello from {path}\")",
            "return answer(start_response, f\"hello from {path}\", '200 OK', ('x-b', '2'))",
        ),
    };
    let name = if class == "asgi" { "app:app" } else { "app" };
    let threads = if class == "gthread" {
        "threads = 2"
    } else {
        ""
    };
    Setup::with(&format!(
        "app = '{name}'\nworker_class = '{class}'\n{threads}\n{config}"
    ))
    .app(&app)
    .file("hooks.py", HOOKS)
}

fn events(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.directory.path().join("events")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for an event that begins so.
#[track_caller]
fn notes(server: &Server, start: &str) -> String {
    let found = || events(server).into_iter().find(|e| e.starts_with(start));
    within(DEADLINE, || found().is_some());
    found().unwrap_or_else(|| panic!("no `{start}` in {:#?}", events(server)))
}

#[test]
fn every_hook_is_called_in_its_moment_in_every_class_of_worker() {
    for class in CLASSES {
        let server = setup(class, &table(&ALL)).start();
        let arbiter = server.arbiter().pid;
        notes(&server, &format!("when_ready 1 {arbiter} 127.0.0.1"));
        let response = server
            .client()
            .request("GET /a%20b?c=d HTTP/1.1\r\nHost: test\r\nX-A: 1\r\n\r\n");
        assert_eq!(response.status, 200, "{class}");
        notes(&server, "post_request /a%20b 200 OK 200 ");
        let begun = events(&server);
        let of_worker: Vec<&str> = begun
            .iter()
            .map(String::as_str)
            .filter(|event| !event.starts_with("when_ready"))
            .collect();
        assert_eq!(
            of_worker,
            [
                "post_fork 1 True 1",
                "worker_init 1",
                "pre_request GET /a%20b?c=d /a%20b c=d 1 (1, 1)",
                &format!("post_request /a%20b 200 OK 200 {} 2", response.text().len()),
            ],
            "{class}"
        );
        server.says("generation=1 worker=1 post_fork of 1 in the worker");

        server.signal(Signal::SIGHUP);
        server.applied();
        for event in [
            "worker_exit 1 True",
            "child_exit 1 True 0",
            "post_fork 2 True 2",
            "when_ready 2",
        ] {
            notes(&server, event);
        }
        server.signal(Signal::SIGTERM);
        server.says("stopped");
        let ended = events(&server).split_off(events(&server).len() - 3);
        assert_eq!(
            ended,
            ["worker_exit 2 True", "child_exit 2 True 0", "on_exit 2"],
            "{class}"
        );
    }
}

#[test]
fn a_hook_that_cannot_be_used_rejects_the_reload_and_ends_the_start() {
    let wrong = [
        (
            "post_fork = 'hooks:nothing'",
            "`hooks` has no attribute `nothing`",
        ),
        (
            "worker_init = 'hooks:post_fork'",
            "takes `(server, worker)`, and is called with `(worker)`",
        ),
        (
            "pre_request = 'broken:f'",
            "hooks.pre_request `broken:f`: ZeroDivisionError",
        ),
        ("child_exit = 'hooks:VERSION'", "it is not callable"),
        ("when_ready = 'nowhere:f'", "No module named 'nowhere'"),
        ("on_exit = 'broken_too:f'", "a coroutine function"),
    ];
    for preload in [false, true] {
        let setup = setup("sync", "")
            .file("hooks.py", &format!("{HOOKS}\nVERSION = 1\n"))
            .file("broken.py", "1 / 0\n")
            .file("broken_too.py", "async def f(server):\n    pass\n");
        let server = setup.start();
        for (line, reason) in wrong {
            server.edit(&format!(
                "app = 'app'\npreload = {preload}\n[hooks]\n{line}"
            ));
            server.says(&format!(
                "cannot load hooks.… {}",
                reason.trim_start_matches("hooks.")
            ));
            server.says(REJECTED);
            assert_eq!(server.text("/"), "hello from /");
        }
        assert!(server.log().contains("broken.py\", line 1"), "no traceback");
    }
    let exit = setup("sync", "[hooks]\nworker_init = 'hooks:post_fork'").start_and_fail();
    assert_eq!(exit.code, Some(3));
}

#[test]
fn check_looks_at_all_hooks() {
    for (line, code, said) in [
        (
            "post_request = 'hooks:worker_init'",
            1,
            "hooks.post_request `hooks:worker_init`: it takes `(worker)`, and is called with `(worker, req, environ, resp)`",
        ),
        (
            "child_exit = 'hooks:nothing'",
            1,
            "has no attribute `nothing`",
        ),
        ("worker_exit = 'hooks:worker_exit'", 0, ""),
    ] {
        let exit = setup("sync", &format!("[hooks]\n{line}"))
            .arguments(&["check", "-c", "rgunicorn.toml"])
            .run();
        assert_eq!(exit.code, Some(code), "{line}: {}", exit.log);
        assert!(exit.log.contains(said), "{line}: {}", exit.log);
    }
}

#[test]
fn a_worker_whose_first_hooks_raise_has_not_booted_and_the_reload_is_rejected() {
    for hook in ["post_fork", "worker_init"] {
        let server = setup("sync", "").start();
        let raising = "def f(*arguments):\n    raise RuntimeError('no pool')\n";
        server.directory.write("raising.py", raising);
        // Takes any number, so that only the call shows it.
        server.edit(&format!("[hooks]\n{hook} = 'raising:f'"));
        server.says(&format!("hooks.{hook} failed: RuntimeError: no pool"));
        server.says(REJECTED);
        assert_eq!(server.text("/"), "hello from /");
    }
}

#[test]
fn hooks_that_raise_later_are_logged_and_hurt_nothing() {
    let names = [
        "worker_exit",
        "child_exit",
        "pre_request",
        "post_request",
        "when_ready",
        "on_exit",
    ];
    for class in ["sync", "asgi", "gevent"] {
        let table: String = names
            .iter()
            .map(|name| format!("{name} = 'raising:f'\n"))
            .collect();
        let server = setup(class, &format!("[hooks]\n{table}"))
            .file(
                "raising.py",
                "def f(*arguments):\n    raise RuntimeError('oh')\n",
            )
            .start();
        assert_eq!(server.text("/"), "hello from /", "{class}");
        server.signal(Signal::SIGTERM);
        server.says("stopped");
        for name in names {
            let line = format!("hooks.{name} failed: RuntimeError: oh");
            assert!(server.log().contains(&line), "{class} {name}");
        }
    }
}

#[test]
fn hooks_of_the_generation_that_hang_or_crash_stop_nothing() {
    let hooks = "
import os, signal, time

def child_exit(server, worker):
    time.sleep(60)

def when_ready(server):
    os.kill(os.getpid(), signal.SIGSEGV)
";
    let config = "[hooks]\nchild_exit = 'hooks:child_exit'\nwhen_ready = 'hooks:when_ready'";
    let server = setup("sync", config).file("hooks.py", hooks).start();
    server.says("hooks.when_ready ended with signal SIGSEGV");
    server.says(" in when_ready");
    for _ in 0..6 {
        server.from_now();
        let mut client = server.client();
        client.send("GET /die HTTP/1.1\r\nHost: test\r\n\r\n");
        server.says("died of signal SIGKILL");
        server.says(" ready");
        assert_eq!(server.text("/"), "hello from /");
    }
    server.says("hooks.child_exit was not done after 4s: ended");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_stop_waits_for_the_hooks_of_many_workers() {
    let hooks = "
import sys
import time

def child_exit(server, worker):
    time.sleep(2)
    # In one piece: many write at once.
    sys.stdout.write(f'gone {worker.age}\\n')
    sys.stdout.flush()

def on_exit(server):
    print('all gone', flush=True)
";
    let config =
        "workers = 12\n[hooks]\nchild_exit = 'hooks:child_exit'\non_exit = 'hooks:on_exit'";
    let server = setup("sync", config).file("hooks.py", hooks).start();
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    let called = exit.stdout.lines().filter(|line| line.starts_with("gone"));
    assert_eq!(called.count(), 12, "{}\n{}", exit.stdout, exit.log);
    assert!(exit.stdout.ends_with("all gone"), "{}", exit.stdout);
}

#[test]
fn a_worker_exit_that_hangs_is_ended() {
    let hooks = "import time\ndef worker_exit(server, worker):\n    time.sleep(60)\n";
    let config = "[timeouts]\ngraceful = '1s'\n[hooks]\nworker_exit = 'hooks:worker_exit'";
    let server = setup("sync", config).file("hooks.py", hooks).start();
    server.signal(Signal::SIGTERM);
    server.says("hooks.worker_exit was not done after 1s: ended");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_stuck_worker_has_its_stacks_logged_and_then_its_hook_called() {
    for (class, stuck) in [
        ("sync", "/sleep?s=60"),
        ("gthread", "/spin?s=60"),
        ("asgi", "/block?s=60"),
        ("gevent", "/spin?s=60"),
    ] {
        let config = format!("[timeouts]\nworker = '1s'\n{}", table(&["worker_abort"]));
        let server = setup(class, &config).start();
        server.from_now();
        let mut clients = [server.client(), server.client()];
        for client in &mut clients {
            client.send(format!("GET {stuck} HTTP/1.1\r\nHost: test\r\n\r\n"));
        }
        notes(&server, "worker_abort 1 True");
        server.says("route_");
        server.says("worker=1 … died of signal SIGABRT");
        server.says("worker=2 … ready");
    }
}

#[test]
fn an_abort_from_outside_ends_the_worker_whatever_its_hook_does() {
    let hooks = "import time\ndef worker_abort(worker):\n    time.sleep(60)\n";
    let config = "[hooks]\nworker_abort = 'hooks:worker_abort'";
    let server = setup("sync", config).file("hooks.py", hooks).start();
    let worker = server.worker();
    server.from_now();
    crate::harness::Process::find(worker)
        .unwrap()
        .signal(Signal::SIGABRT);
    server.says("hooks.worker_abort was not done after 1.5s");
    server.says("died of signal SIGABRT");
}

#[test]
fn a_hook_of_requests_may_take_fewer_arguments_and_change_what_the_app_sees() {
    let hooks = "
def pre_request(worker, req):
    req.environ['HTTP_X_ADDED'] = 'by the hook'

def post_request(worker, req):
    print('answered', req.uri, flush=True)
";
    let config = "[hooks]\npre_request = 'hooks:pre_request'\npost_request = 'hooks:post_request'";
    let server = setup("gthread", config).file("hooks.py", hooks).start();
    let environ = server.get("/environ").json();
    assert_eq!(environ["HTTP_X_ADDED"], "by the hook");
    server.prints("answered /environ");
}

#[test]
fn requests_that_fail_or_take_too_long_are_told_with_what_was_answered() {
    let config = format!("[timeouts]\nrequest = '1s'\n{}", table(&["post_request"]));
    let server = setup("sync", &config).start();
    assert_eq!(server.get("/error").status, 500);
    notes(
        &server,
        "post_request /error 500 Internal Server Error 500 46 ",
    );
    assert_eq!(server.get("/spin?s=60").status, 504);
    notes(&server, "post_request /spin 504 Gateway Timeout 504 56 ");
}

#[test]
fn what_an_argument_does_not_have_is_said_with_what_it_has() {
    let hooks = "def when_ready(server):\n    server.WORKERS\n";
    let server = setup("sync", "[hooks]\nwhen_ready = 'hooks:when_ready'")
        .file("hooks.py", hooks)
        .start();
    server.says("rgunicorn's server has no `WORKERS`; it has address, generation, log, pid");
}

#[test]
fn prometheus_counters_of_processes_sum_up_and_gauges_of_dead_ones_go() {
    let app = "
import os
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess

requests = Counter('served', 'Requests')
living = Gauge('living', 'Workers', multiprocess_mode='livesum')
living.set(1)

def application(environ, start_response):
    if environ['PATH_INFO'] == '/metrics':
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        body = generate_latest(registry)
    else:
        requests.inc()
        body = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";
    let hooks = "
from prometheus_client import multiprocess

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
";
    for preload in [false, true] {
        let config = format!(
            "workers = 2\npreload = {preload}\n[env]\nPROMETHEUS_MULTIPROC_DIR = '{{dir}}/metrics'\n[hooks]\nchild_exit = 'hooks:child_exit'"
        );
        let setup = Setup::with(&config).app(app).file("hooks.py", hooks);
        fs::create_dir(setup.path().join("metrics")).unwrap();
        let server = setup.start();
        for _ in 0..5 {
            server.text("/");
        }
        let first = server.workers();
        server.signal(Signal::SIGHUP);
        server.applied();
        server.text("/");
        let files = |kind: &str, pids: &[i32]| {
            let folder = server.directory.path().join("metrics");
            pids.iter()
                .filter(|pid| folder.join(format!("{kind}_{pid}.db")).exists())
                .count()
        };
        eventually("gauges of dead workers go", || {
            files("gauge_livesum", &first) == 0
        });
        if !preload {
            assert_eq!(files("gauge_livesum", &server.workers()), 2);
            assert_eq!(server.text("/metrics").matches("living 2.0").count(), 1);
        }
        let metrics = server.text("/metrics");
        assert!(metrics.contains("served_total 6.0"), "{metrics}");
    }
}

#[test]
fn an_exit_in_pre_request_ends_the_request_and_nothing_else() {
    for class in ["sync", "asgi", "gevent"] {
        let server = setup(class, "[hooks]\npre_request = 'exits:f'\n")
            .file(
                "exits.py",
                "def f(worker, request):\n    if request.path == '/exit':\n        raise SystemExit(5)\n",
            )
            .start();
        let worker = server.worker();
        assert_eq!(server.get("/exit").status, 500, "{class}");
        assert_eq!(server.text("/"), "hello from /", "{class}");
        assert_eq!(server.worker(), worker, "{class}");
    }
}
