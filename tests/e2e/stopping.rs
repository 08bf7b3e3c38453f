//! Requests that wait when the server is told to stop: none is dropped while `timeouts.graceful` lasts.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{Client, Process, Server, eventually};

/// As many clients as ask, each with its request sent; half of them over connections that served one before.
fn crowd(server: &Server, count: usize, seconds: f32) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for client in clients.iter_mut().step_by(2) {
        client.get("/");
    }
    for client in &mut clients {
        client.send(format!(
            "GET /sleep?s={seconds} HTTP/1.1\r\nHost: test\r\n\r\n"
        ));
    }
    thread::sleep(Duration::from_millis(100));
    clients
}

/// How many of them get their answer.
fn answered(clients: &mut [Client]) -> usize {
    clients
        .iter_mut()
        .filter_map(|client| client.try_response("GET").ok())
        .filter(|response| response.text() == "slept")
        .count()
}

#[test]
fn everybody_who_waits_is_served() {
    for config in ["workers = 2", "workers = 2\nthreads = 2", "workers = 1"] {
        let server = Server::start(config);
        let mut clients = crowd(&server, 300, 0.02);
        server.signal(Signal::SIGTERM);
        assert_eq!(answered(&mut clients), 300, "{config}");
        assert_eq!(server.ended().code, Some(0), "{config}");
    }
}

#[test]
fn everybody_who_waits_is_served_though_connections_are_limited() {
    let server = Server::start("workers = 2\n[limits]\nconnections = 4");
    let mut clients: Vec<Client> = (0..40).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep?s=0.05 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    thread::sleep(Duration::from_millis(100));
    server.signal(Signal::SIGTERM);
    assert_eq!(answered(&mut clients), 40);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn nobody_is_waited_for_longer_than_the_grace() {
    let server = Server::start("workers = 2\n[timeouts]\ngraceful = '1s'");
    let mut clients = crowd(&server, 40, 0.3);
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    let count = answered(&mut clients);
    assert!((2..30).contains(&count), "{count} answered");
    assert_eq!(server.ended().code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_worker_that_never_comes_back_keeps_nobody_from_being_served() {
    let server = Server::start("workers = 2\n[timeouts]\ngraceful = '15s'");
    server.says_times(2, " ready");
    let _endless = server.busy_with("/sleep?s=60");
    let mut clients = crowd(&server, 400, 0.01);
    server.signal(Signal::SIGTERM);
    assert_eq!(answered(&mut clients), 400);
    server.signal(Signal::SIGQUIT);
    assert_eq!(server.ended().code, Some(0));
}

/// As service managers and platforms do it.
#[test]
fn everybody_who_waits_is_served_though_the_workers_are_told_before_the_arbiter() {
    for config in ["workers = 1", "workers = 2", "workers = 2\nthreads = 2"] {
        let server = Server::start(config);
        server.says_times(if config.contains('2') { 2 } else { 1 }, " ready");
        let mut clients = crowd(&server, 60, 0.05);
        let mut below = server.below();
        below.reverse();
        for process in below {
            process.signal(Signal::SIGTERM);
        }
        thread::sleep(Duration::from_millis(20));
        server.signal(Signal::SIGTERM);
        assert_eq!(answered(&mut clients), 60, "{config}");
        assert_eq!(server.ended().code, Some(0), "{config}");
    }
}

#[test]
fn the_only_worker_that_somebody_tells_to_leave_leaves_what_waits_to_its_successor() {
    let server = Server::start("workers = 1");
    server.says(" ready");
    let worker = Process::find(server.workers()[0]).unwrap();
    let mut clients = crowd(&server, 20, 0.05);
    let began = Instant::now();
    worker.signal(Signal::SIGTERM);
    assert_eq!(answered(&mut clients), 20);
    eventually("the worker is gone", || !worker.is_alive());
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn who_comes_after_the_order_is_refused_while_those_before_are_served() {
    let server = Server::start("workers = 2");
    let mut clients = crowd(&server, 40, 0.1);
    server.signal(Signal::SIGTERM);
    eventually("nobody listens", || {
        Client::try_to(&server.address()).is_err()
    });
    assert_eq!(answered(&mut clients), 40);
    assert_eq!(server.ended().code, Some(0));
}
