//! Processes that the app forks off: they end when they are told to, keep nothing of the server's, and never serve.

use std::{net::TcpStream, time::Instant};

use crate::harness::{Process, Server, Setup, eventually};

/// A child of the app does what the query says, and the parent answers with its exit code, or with its pid if it goes on.
const FORKS: &str = r#"
import os, signal, sys, time

def application(environ, start_response):
    path, how = environ["PATH_INFO"], environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path != "/fork":
        return [b"served by %d" % os.getpid()]
    child = os.fork()
    if child == 0:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("of the child")
        if how == "return":
            return [b"from the child"]
        if how == "yield":
            return iter([b"from", b"the child"])
        time.sleep(60)
        os._exit(9)
    if how == "stay":
        return [b"%d" % child]
    if how.startswith("signal="):
        time.sleep(0.2)
        os.kill(child, int(how.removeprefix("signal=")))
    return [b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
"#;

const ASGI_FORKS: &str = r#"
import asyncio, os, sys

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError
    how = scope["query_string"]
    child = os.fork() if scope["path"] == "/fork" else None
    body = b"served"
    if child == 0:
        if how == b"exit":
            sys.exit(7)
        if how == b"await":
            await asyncio.sleep(0)
        body = b"from the child"
    elif child:
        body = b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"#;

fn serve(config: &str, app: &str) -> Server {
    let config = format!("app = 'app:application'\n{config}");
    Setup::with(&config).app(app).start()
}

#[test]
fn one_that_comes_back_from_the_app_is_ended_and_answers_nobody() {
    for config in ["", "threads = 2", "worker_class = 'gevent'"] {
        let server = serve(config, FORKS);
        assert_eq!(server.text("/fork?exit"), "7", "{config}");
        assert_eq!(server.text("/fork?raise"), "1");
        server.says("ValueError: of the child");
        assert_eq!(server.text("/fork?return"), "0");
        server.says("which the app forked, came back from the app and was ended");
        assert_eq!(server.text("/fork?yield"), "0");
        let worker = format!("served by {}", server.workers()[0]);
        assert_eq!(server.text("/"), worker, "the worker itself goes on");
        assert!(!server.has_said("the app failed"), "{}", server.log());
    }
}

#[test]
fn one_that_comes_back_to_the_event_loop_is_ended() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = serve(&format!("loop = '{event_loop}'"), ASGI_FORKS);
        assert_eq!(server.text("/fork?exit"), "7", "{event_loop}");
        assert_eq!(server.text("/fork?return"), "0");
        assert_eq!(server.text("/fork?await"), "0");
        assert_eq!(server.text("/"), "served");
    }
}

/// `multiprocessing.Process.terminate` sends TERM and waits.
#[test]
fn the_signals_that_end_a_process_end_it() {
    let server = serve("threads = 2", FORKS);
    for signal in ["15", "2", "3"] {
        let began = Instant::now();
        assert_eq!(
            server.text(&format!("/fork?signal={signal}")),
            format!("-{signal}")
        );
        assert!(began.elapsed().as_secs() < 10);
    }
    assert!(!server.has_said("told to by somebody"), "{}", server.log());
}

/// As a pool of multiprocessing's, which is forked off at the first request that needs it.
#[test]
fn one_that_lives_on_keeps_no_clients_connection_open() {
    let app = r#"
import os, signal, sys, time

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    child = os.fork() if environ["PATH_INFO"] == "/fork" else None
    if child == 0:
        time.sleep(60)
        os._exit(9)
    yield b"%d" % (child or 0)
"#;
    for config in ["", "threads = 2"] {
        let server = serve(&format!("{config}\n[timeouts]\nkeepalive = '1s'"), app);
        let mut idle = server.client();
        idle.get("/");
        // Without a length, the end of the connection is the end of the response.
        let mut client = server.client();
        client.send("GET /fork HTTP/1.0\r\n\r\n");
        let began = Instant::now();
        let answer = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(began.elapsed().as_secs() < 10, "{config}");
        idle.expect_closed();
        let (_, child) = answer.split_once("\r\n\r\n").unwrap();
        let child = Process::find(child.parse().unwrap()).unwrap();
        assert!(child.is_alive());
        child.signal(nix::sys::signal::Signal::SIGKILL);
    }
}

#[test]
fn one_that_outlives_the_server_does_not_keep_its_address() {
    let server = serve("", FORKS);
    let child: i32 = server.text("/fork?stay").parse().unwrap();
    let port = server.port();
    let child = Process::find(child).unwrap();
    server.arbiter().signal(nix::sys::signal::Signal::SIGTERM);
    eventually("the address is free", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(child.is_alive());
    child.signal(nix::sys::signal::Signal::SIGTERM);
    eventually("the child is gone", || !child.is_alive());
    server.ended();
}

/// Forked while the app is imported, by the generation or by a worker: a manager of multiprocessing's, a helper.
#[test]
fn one_of_an_import_ends_and_keeps_no_address() {
    let app = r#"
import os, sys, time

CHILD = os.fork()
if CHILD == 0:
    time.sleep(60)
    os._exit(9)
if os.fork() == 0:
    sys.exit(0)
if os.fork() == 0:
    os.kill(os.getpid(), 11)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % CHILD]
"#;
    for config in ["", "preload = true"] {
        let server = serve(config, app);
        let child = server.text("/").parse().unwrap();
        let port = server.port();
        let child = Process::find(child).unwrap();
        server.arbiter().signal(nix::sys::signal::Signal::SIGTERM);
        eventually("the address is free", || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
        });
        assert!(child.is_alive(), "{config}");
        child.signal(nix::sys::signal::Signal::SIGTERM);
        eventually("the child is gone", || !child.is_alive());
        let log = server.ended().log;
        assert!(!log.contains("did not leave"), "{config}\n{log}");
        assert!(!log.contains("cannot load"), "{config}\n{log}");
    }
}
