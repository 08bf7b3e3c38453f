//! Connections that idle through rolls, edits of the number of workers and successors: not one is closed, in any class of
//! worker. `benches/reloads.py --count 1000` does the same for longer and under more load.

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
