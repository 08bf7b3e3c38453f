//! `threads`: slow calls run side by side and hold no fast one up.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::{Client, Hammer, Process, Server};

#[test]
fn as_many_slow_requests_as_threads_run_at_once() {
    let server = Server::start("threads = 4");
    let start = Instant::now();
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep?s=2 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "slept");
    }
    assert!(
        start.elapsed() < Duration::from_millis(3800),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn more_requests_than_threads_take_turns() {
    let server = Server::start("threads = 2");
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep?s=0.1 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "slept");
    }
}

#[test]
fn slow_calls_do_not_hold_a_fast_one_up() {
    let server = Server::start("threads = 4");
    let mut slow: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut slow {
        client.send("GET /sleep?s=5 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.text("/"), "hello from /");
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    for client in &mut slow {
        assert_eq!(client.response().text(), "slept");
    }
}

#[test]
fn python_code_that_computes_does_not_hold_a_fast_call_up() {
    let server = Server::start("threads = 2");
    let mut slow = server.client();
    slow.send("GET /spin?s=4 HTTP/1.1\r\nHost: test\r\n\r\n");
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(server.text("/"), "hello from /");
    }
    assert!(
        start.elapsed() < Duration::from_millis(3500),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(slow.response().text(), "spun");
}

#[test]
fn pipelined_requests_of_one_connection_are_answered_in_order() {
    let server = Server::start("threads = 4");
    let mut client = server.client();
    let all: String = (0..6)
        .map(|n| format!("GET /sleep?s={} HTTP/1.1\r\nHost: test\r\n\r\nGET /{n} HTTP/1.1\r\nHost: test\r\n\r\n", 0.2 - 0.03 * f64::from(n)))
        .collect();
    client.send(all);
    for number in 0..6 {
        assert_eq!(client.response().text(), "slept");
        assert_eq!(client.response().text(), format!("hello from /{number}"));
    }
}

#[test]
fn a_request_waits_for_an_idle_worker_not_for_a_busy_one() {
    let server = Server::start("workers = 4");
    server.says_times(4, " ready");
    // The connections exist, wherever they landed, before any of them has work.
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    for round in 0..3 {
        let start = Instant::now();
        for client in clients.iter_mut().take(4) {
            client.send("GET /sleep?s=1.5 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in clients.iter_mut().take(4) {
            assert_eq!(client.response().text(), "slept");
        }
        let took = start.elapsed();
        // Two that wait for the same worker take as long as both.
        assert!(
            took < Duration::from_millis(2900),
            "round {round}: {took:?}"
        );
    }
}

#[test]
fn who_comes_new_is_served_although_others_keep_all_threads_busy() {
    for threads in [1, 2] {
        let server = Server::start(&format!("workers = 1\nthreads = {threads}"));
        let hammer = Hammer::start(server.address(), "/sleep?s=0.02", 8, 0);
        sleep(Duration::from_millis(300));
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(server.get("/").status, 200);
            let took = start.elapsed();
            assert!(took < Duration::from_secs(5), "{threads}: {took:?}");
        }
        hammer.stop();
    }
}

#[test]
fn where_requests_are_rare_a_worker_sleeps_in_between() {
    let server = Server::start("threads = 2\nworkers = 1");
    let mut client = server.client();
    let worker = Process::find(client.get("/pid").text().parse().unwrap()).unwrap();
    let before = worker.sleeps();
    for _ in 0..20 {
        client.get("/");
        sleep(Duration::from_millis(60));
    }
    let sleeps = (worker.sleeps() - before) / 20;
    assert!(sleeps <= 12, "{sleeps} for each request");
}

/// More than its share, while the other worker is busy for long.
#[test]
fn who_comes_new_is_served_by_the_worker_that_is_free_however_many_it_holds() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let _long = server.busy_with("/sleep?s=30");
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    let began = Instant::now();
    for client in &mut clients {
        client.get("/");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}
