//! Connections that idle through rolls, edits of the number of workers and successors: not one is closed, in any class of
//! worker. `benches/reloads.py --count 1000` does the same for longer and under more load. And where they are as many as may
//! be, those that idle longest make room for others.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{APP, Client, Hammer, Server, Setup};

const ASGI: &str = include_str!("apps/asgi.py");
const CLIENTS: usize = 64;
const ROLLS: usize = 4;

/// Asks on the connection that was there before; a closed one fails the test.
#[track_caller]
fn ask(clients: &mut [Client], chosen: impl Fn(usize) -> bool) {
    let chosen = |(number, client)| chosen(number).then_some(client);
    for client in clients.iter_mut().enumerate().filter_map(chosen) {
        let response = client.get("/pid");
        assert_eq!(response.status, 200);
        assert!(!response.says_close(), "told to close:\n{}", response.head);
    }
}

/// Whether the server has closed a connection that idles.
fn has_gone(client: &mut Client) -> bool {
    client.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response_or_end().is_none()
}

#[track_caller]
fn survive_rolls(server: &Server) {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    ask(&mut clients, |_| true);
    let hammer = Hammer::start(server.address(), "/pid", 2, 2);
    for roll in 0..ROLLS {
        server.signal(Signal::SIGHUP);
        server.applied();
        // Some are used after each roll, some idle through several.
        ask(&mut clients, |number| number % ROLLS == roll);
    }
    ask(&mut clients, |_| true);
    hammer.stop();
}

#[test]
fn none_is_closed_by_rolls_of_threads() {
    for config in ["workers = 2", "workers = 2\nthreads = 3"] {
        survive_rolls(&Server::start(config));
    }
}

#[test]
fn none_is_closed_by_rolls_of_greenlets() {
    for class in ["gevent", "eventlet"] {
        let config = format!("workers = 2\nworker_class = '{class}'");
        survive_rolls(&Server::start(&config));
    }
}

#[test]
fn none_is_closed_by_rolls_of_event_loops() {
    let config = "workers = 2\napp = 'app:app'";
    survive_rolls(&Setup::with(config).app(ASGI).start());
}

#[test]
fn none_is_closed_when_the_number_of_workers_changes() {
    let server = Setup::with("workers = 2").app(APP).start();
    server.says("workers=2 serving");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    ask(&mut clients, |_| true);
    for workers in [4, 1, 3, 2] {
        server.edit(&format!("workers = {workers}"));
        server.applied();
        ask(&mut clients, |number| number % 4 == workers - 1);
    }
    ask(&mut clients, |_| true);
}

#[test]
fn those_who_only_hold_connections_open_keep_nobody_out() {
    for (class, app) in [
        ("threads = 3", APP),
        ("worker_class = 'gevent'", APP),
        ("app = 'app:app'", ASGI),
    ] {
        let config = format!("workers = 2\n{class}\n[limits]\nconnections = 4");
        let server = Setup::with(&config).app(app).start();
        server.says("workers=2 serving");
        let mut idle: Vec<Client> = (0..8).map(|_| server.client()).collect();
        ask(&mut idle, |_| true);
        server.says_times(
            2,
            "has as many connections as `limits.connections` allows, 4;",
        );

        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(server.client().get("/pid").status, 200, "{class}");
        }
        // Those of this test come one after the other, and the first waits until others were quiet for long enough.
        assert!(begun.elapsed() < Duration::from_secs(8), "{class}");
        let gone = idle
            .iter_mut()
            .filter_map(|client| has_gone(client).then_some(()))
            .count();
        assert!((1..=3).contains(&gone), "{class}: {gone} closed");
    }
}

#[test]
fn a_connection_that_was_used_just_now_is_not_closed_for_others() {
    let config = "workers = 1\nthreads = 3\n[limits]\nconnections = 2";
    let server = Setup::with(config).app(APP).start();
    let (mut busy, mut idle) = ([server.client()], server.client());
    ask(&mut busy, |_| true);
    assert_eq!(idle.get("/pid").status, 200);
    let mut next = server.client();
    next.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        ask(&mut busy, |_| true);
    }
    assert_eq!(next.response().status, 200);
    ask(&mut busy, |_| true);
    assert!(has_gone(&mut idle));
}

#[test]
fn a_worker_leaves_at_once_however_many_idle_there() {
    // More than fit in the lobby at a time; each class has its own loop.
    const CROWD: usize = 400;
    for (config, app) in [
        ("workers = 1", APP),
        ("workers = 1\nworker_class = 'gevent'", APP),
        ("workers = 1\napp = 'app:app'", ASGI),
    ] {
        let server = Setup::with(config).app(app).start();
        let mut clients: Vec<Client> = (0..CROWD).map(|_| server.client()).collect();
        ask(&mut clients, |_| true);
        let before = server.worker();
        server.signal(Signal::SIGHUP);
        server.says(&format!("pid={before} left"));
        ask(&mut clients, |_| true);
    }
}
