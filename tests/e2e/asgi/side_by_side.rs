//! Many requests on one loop: each a task of its own, within the limits of number and time.

use std::time::{Duration, Instant};

use super::{counter, setup, start};
use crate::harness::{Client, eventually};

#[test]
fn each_request_is_a_task_with_a_context_of_its_own() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = start(&format!("loop = '{event_loop}'"));
        let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!(
                "GET /context?name={number} HTTP/1.1\r\nHost: test\r\n\r\n"
            ));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                client.response().text(),
                format!("nobody {number} {number} True")
            );
        }
        assert_eq!(server.text("/parts"), "http.request timeout");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start("");
    let mut client = server.client();
    let targets = [
        "/sleep?s=0.1",
        "/",
        "/stream",
        "/large?size=100000",
        "/context?name=x",
        "/",
    ];
    let all: String = targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect();
    client.send(all);
    let expected = ["slept", "hello", "chunk 0", "xxx", "nobody x x", "hello"];
    for begin in expected {
        assert!(client.response().text().starts_with(begin));
    }
}

#[test]
fn many_requests_wait_side_by_side() {
    let server = start("");
    let start = Instant::now();
    let mut clients: Vec<Client> = (0..200).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "slept");
    }
    // One after the other they need 100 seconds.
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn no_more_connections_are_taken_than_configured() {
    let server = start("[limits]\nconnections = 2");
    let mut first = server.client();
    let mut second = server.client();
    assert_eq!(first.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    let mut third = server.client();
    third.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    third.expect_silence(Duration::from_millis(300));
    drop(first);
    assert_eq!(third.response().status, 200);
}

#[test]
fn a_request_that_takes_too_long_is_cancelled_and_answered() {
    let server = start("[timeouts]\nrequest = '300ms'");
    let start = Instant::now();
    assert_eq!(server.get("/sleep?s=10").status, 504);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    eventually("it was cancelled", || counter(&server, "cancelled") == "1");
    server.says("cancelled after timeouts.request: GET /sleep?s=10");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_blocked_loop_is_noticed_and_its_worker_replaced() {
    let server = start("workers = 2\n[timeouts]\nworker = 1\ngraceful = 2");
    let mut client = server.client();
    client.send("GET /block?s=30 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says("in route_block");
    server.says("worker=3 … ready");
    for _ in 0..20 {
        assert_eq!(server.text("/"), "hello from /");
    }
}

#[test]
fn quick_answers_do_not_wait_for_slow_ones_that_came_with_them() {
    let server = start("");
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello from /");
        }
    }
    let start = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        let path = if number % 2 == 0 { "/" } else { "/sleep?s=5" };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.response().text(), "hello from /");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn what_the_app_keeps_of_a_request_reaches_no_other() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = start(&format!("loop = '{event_loop}'"));
        let mut client = server.client();
        for what in ["send", "receive", "awaitable"] {
            assert_eq!(client.get(&format!("/keep?what={what}")).text(), "kept");
            assert_eq!(client.get("/").text(), "hello from /");
        }
        let used = client.get("/use-kept");
        assert_eq!(used.status, 200);
        let text = "refused ['http.disconnect', 'http.disconnect']";
        assert_eq!(used.text(), text);
    }
}

/// Looks for a message again and again without waiting for one, as Starlette's `Request.is_disconnected` does.
const LOOKS_OFTEN: &str = "
import asyncio, gc

def futures():
    gc.collect()
    return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())

async def app(scope, receive, send):
    assert scope['type'] == 'http'
    await receive()
    before = futures()
    for _ in range(300):
        try:
            await asyncio.wait_for(receive(), 0.0005)
        except asyncio.TimeoutError:
            pass
    left = futures() - before
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'%d' % left})
";

#[test]
fn looking_for_a_message_leaves_nothing_behind() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = setup(&format!("loop = '{event_loop}'"))
            .app(LOOKS_OFTEN)
            .start();
        let left: usize = server.text("/").parse().unwrap();
        assert!(left < 10, "{event_loop}: {left}");
    }
}
