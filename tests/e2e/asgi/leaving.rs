//! A worker that leaves: what it holds is finished, and what runs on is waited for.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{counter, setup, start};
use crate::harness::{Hammer, eventually};

#[test]
fn what_the_app_does_after_its_answer_is_not_cut_off() {
    let server = start("");
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.get("/background?s=2").text(), "answered");
    assert_eq!(client.get("/").text(), "hello from /");
    assert!(
        start.elapsed() < Duration::from_millis(1800),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(client.get("/background?s=2").text(), "answered");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    let done = exit.stdout.matches("background done").count();
    assert_eq!(done, 2, "{}", exit.stdout);
    let place = |text: &str| {
        exit.stdout
            .find(text)
            .unwrap_or_else(|| panic!("no {text}"))
    };
    assert!(place("background done") < place("shutdown"));
}

#[test]
fn a_worker_that_drains_finishes_its_requests() {
    let server = start("");
    let mut client = server.client();
    client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is in the app", || counter(&server, "/sleep") == "1");
    server.signal(Signal::SIGTERM);
    let response = client.response();
    assert_eq!(response.text(), "slept");
    assert!(response.says_close());
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_quick_stop_ends_what_waits_and_calls_nothing_a_failure() {
    let server = start("");
    let mut waiting = server.client();
    waiting.send("GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut sending = server.client();
    sending.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\na");
    eventually("both are in the app", || {
        counter(&server, "/sleep") == "1" && counter(&server, "/echo") == "1"
    });
    server.signal(Signal::SIGQUIT);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    for word in ["Traceback", "CRITICAL"] {
        assert!(!exit.log.contains(word), "{}", exit.log);
    }
}

#[test]
fn a_worker_retires_after_max_requests_without_a_loss() {
    let server = start("[limits]\nmax_requests = 50");
    let hammer = Hammer::start(server.address(), "/", 4, 4);
    hammer.lands(500);
    hammer.stop();
}

#[test]
fn an_exit_in_a_task_of_the_apps_own_lets_the_worker_leave_in_order() {
    let app = "
import asyncio, sys

async def leave():
    sys.exit(5)

async def app(scope, receive, send):
    assert scope['type'] == 'http'
    if scope['path'] == '/exit':
        for _ in range(3):
            asyncio.create_task(leave())
    await asyncio.sleep(0.5)
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'answered'})
";
    for event_loop in ["asyncio", "uvloop"] {
        let server = setup(&format!("loop = '{event_loop}'")).app(app).start();
        let before = server.workers();
        let mut other = server.client();
        other.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut client = server.client();
        client.send("GET /exit HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(other.response().text(), "answered", "{event_loop}");
        assert_eq!(client.response().text(), "answered", "{event_loop}");
        server.says("leaves, after its requests: the app raised SystemExit: 5 outside of them");
        assert_eq!(server.text("/"), "answered", "{event_loop}");
        eventually("another serves", || server.workers() != before);
        assert!(!server.log().contains("cannot serve"), "{}", server.log());
    }
}
