//! Signals that the app has a use for: its handlers run when they should, and the server hears its own all the same.

use nix::sys::signal::Signal;

use crate::harness::{Process, Server, Setup};

/// Takes a signal for a while, as libraries do round a critical section, and calls what was there before, as those do that hang
/// themselves in.
const TAKES: &str = r#"
import os, signal, time

TAKEN = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1]

def take():
    for number in TAKEN:
        before = signal.getsignal(number)
        signal.signal(number, lambda *_: None)
        signal.signal(number, before)

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/take":
        take()
    elif path == "/hang-in":
        before = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *arguments: before(*arguments))
    elif path == "/fork":
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(9)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        start_response("200 OK", [])
        return [b"%d" % status]
    start_response("200 OK", [])
    return [b"done"]
"#;

const ASGI_TAKES: &str = r#"
import signal

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGTERM, before)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"#;

/// Leaves a note of each signal, and then does what the environment says.
const NOTES: &str = r#"
import os, signal, sys, time

def note(number, frame):
    print("the app was told of", signal.Signals(number).name, file=sys.stderr, flush=True)
    if os.environ.get("THEN") == "exit":
        sys.exit(3)
    if os.environ.get("THEN") == "fail":
        raise ValueError("of the handler")

for number in [signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM]:
    signal.signal(number, note)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/alarm":
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    if environ["PATH_INFO"] == "/slow":
        print("the app sleeps", file=sys.stderr, flush=True)
        time.sleep(1)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]
"#;

const GRACE: &str = "[timeouts]\ngraceful = '60s'";

fn serve(config: &str, app: &str) -> Server {
    Setup::with(&format!("app = 'app:application'\n{config}\n{GRACE}"))
        .app(app)
        .start()
}

fn worker(server: &Server) -> Process {
    Process::find(server.workers()[0]).unwrap()
}

/// Stops the server, which ends long before `timeouts.graceful`.
#[track_caller]
fn stop(server: Server) {
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    assert!(exit.log.contains(" left after"), "{}", exit.log);
}

#[test]
fn a_worker_hears_a_signal_that_the_app_took_and_put_back() {
    for config in ["", "worker_class = 'gevent'", "preload = true"] {
        for path in ["/take", "/hang-in"] {
            let server = serve(config, TAKES);
            assert_eq!(server.text(path), "done", "{config}");
            stop(server);
        }
    }
    for event_loop in ["asyncio", "uvloop"] {
        let server = serve(&format!("loop = '{event_loop}'"), ASGI_TAKES);
        assert_eq!(server.text("/"), "done", "{event_loop}");
        stop(server);
    }
}

#[test]
fn a_child_of_the_app_ends_at_a_signal_that_the_app_put_back() {
    let server = serve("", TAKES);
    assert_eq!(server.text("/hang-in"), "done");
    assert_eq!(server.text("/fork"), "-15");
}

#[test]
fn a_handler_of_the_apps_runs_although_no_request_comes() {
    for config in ["", "threads = 3", "worker_class = 'gevent'"] {
        let server = serve(config, NOTES);
        worker(&server).signal(Signal::SIGUSR2);
        server.says("the app was told of SIGUSR2");
        assert_eq!(server.text("/alarm"), "done", "{config}");
        server.says("the app was told of SIGALRM");
    }
}

#[test]
fn a_handler_of_the_apps_that_exits_has_the_worker_leave_in_order() {
    let setup = Setup::with("app = 'app:application'").app(NOTES);
    let server = setup.environment("THEN", "exit").start();
    let before = worker(&server);
    server.from_now();
    before.signal(Signal::SIGUSR2);
    server
        .says("worker=1 leaves, after its requests: the app raised SystemExit: 3 outside of them");
    server.says("worker=2 … ready");
    assert_eq!(server.text("/"), "done");
}

#[test]
fn a_handler_of_the_apps_that_fails_ends_nothing() {
    let setup = Setup::with("app = 'app:application'\nthreads = 2").app(NOTES);
    let server = setup.environment("THEN", "fail").start();
    let before = worker(&server);
    before.signal(Signal::SIGUSR2);
    server.says("a handler that the app set for a signal failed");
    server.says("ValueError: of the handler");
    assert_eq!(server.text("/"), "done");
    assert!(before.is_alive());
}

/// Whatever it does: Gunicorn's workers would answer with 500, or not leave.
#[test]
fn the_apps_handler_for_the_stop_is_called_and_cuts_no_request() {
    for config in [
        "",
        "threads = 2",
        "preload = true",
        "worker_class = 'gevent'",
    ] {
        for then in ["", "exit", "fail"] {
            let setup = Setup::with(&format!("app = 'app:application'\n{config}\n{GRACE}"));
            let server = setup.app(NOTES).environment("THEN", then).start();
            let mut client = server.client();
            client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
            server.says("the app sleeps");
            server.signal(Signal::SIGTERM);
            assert_eq!(client.response().text(), "done", "{config} {then}");
            let exit = server.ended();
            assert_eq!(exit.code, Some(0));
            let told = exit.log.matches("the app was told of SIGTERM").count();
            assert_eq!(told, 1, "{config} {then}\n{}", exit.log);
            let failed = exit.log.contains("the app's handler of SIGTERM failed:");
            assert_eq!(failed, then == "fail", "{}", exit.log);
        }
    }
}

/// As FastAPI's users have streams end when the server does.
#[test]
fn a_handler_that_a_lifespan_sets_is_called_beside_the_servers() {
    let app = r#"
import signal, sys

async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        return
    await receive()
    before = signal.getsignal(signal.SIGTERM)
    def end(number, frame):
        print("streams end", file=sys.stderr, flush=True)
        before(number, frame)
    signal.signal(signal.SIGTERM, end)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"#;
    for event_loop in ["asyncio", "uvloop"] {
        let server = serve(&format!("loop = '{event_loop}'"), app);
        server.signal(Signal::SIGTERM);
        server.says("streams end");
        let exit = server.ended();
        assert!(exit.log.contains(" left after"), "{}", exit.log);
    }
}
