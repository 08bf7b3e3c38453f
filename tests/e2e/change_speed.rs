//! How fast changes are, with bounds that hold on a machine which is busy with other tests; `benches/run.py --only changes`
//! prints what they are on one that is not.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Process, Save, Server, within};

/// Many times what it takes alone.
const SOON: Duration = Duration::from_secs(5);

/// Does something until it is true, and tells how long that took.
#[track_caller]
fn timed(what: &str, fact: impl FnMut() -> bool) {
    let begun = Instant::now();
    assert!(within(SOON, fact), "{what}: {:?}", begun.elapsed());
    eprintln!("{what}: {:?}", begun.elapsed());
}

#[track_caller]
fn settled(config: &str) -> Server {
    let server = Server::start(config);
    server.says(" serving");
    server
}

#[test]
fn new_code_answers_soon_after_a_save() {
    for preload in ["false", "true"] {
        let config = format!("workers = 2\npreload = {preload}");
        let server = settled(&config);
        for round in ["1", "2", "3"] {
            server.edit_by(Save::Rename, &format!("{config}\n[env]\nROUND = '{round}'"));
            timed("from the save to new code", || {
                server.text("/env?name=ROUND") == round
            });
            server.applied();
        }
    }
}

#[test]
fn with_preload_one_more_worker_is_soon_there() {
    let server = settled("preload = true");
    for workers in 2..5 {
        server.signal(Signal::SIGTTIN);
        timed("one more worker", || server.has_said(" ready"));
        let children = server.generations()[0].children();
        assert_eq!(children.len(), workers);
    }
}

#[test]
fn a_killed_worker_costs_its_own_requests_and_is_soon_replaced() {
    for preload in ["false", "true"] {
        let server = settled(&format!("workers = 2\npreload = {preload}"));
        for _ in 0..3 {
            kill_one_of_two(&server);
        }
    }
}

fn kill_one_of_two(server: &Server) {
    // A connection that a worker answered on stays with it, so its next request is that worker's.
    let mut clients: Vec<_> = (0..2).map(|_| server.client()).collect();
    let pids: Vec<i32> = clients
        .iter_mut()
        .map(|client| client.get("/pid").text().parse().unwrap())
        .collect();
    for client in &mut clients {
        client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    // Nothing tells when both are in the app; where one is not yet, it is served all the same.
    std::thread::sleep(Duration::from_millis(100));
    let victim = pids[0];
    server.from_now();
    Process::find(victim).unwrap().signal(Signal::SIGKILL);
    timed("a worker in place of the killed one", || {
        server.has_said(" ready")
    });
    assert_eq!(server.text("/"), "hello from /");
    for (client, pid) in clients.iter_mut().zip(&pids) {
        match client.try_response("GET") {
            Ok(response) => assert_eq!(response.text(), "slept"),
            Err(error) => assert_eq!(*pid, victim, "{error}"),
        }
    }
}
