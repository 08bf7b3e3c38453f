//! The code on disk is broken for a while, as in the middle of a deployment, and a worker dies just then.

use nix::sys::signal::Signal;

use crate::harness::{APP, Process, Server, eventually};

const BROKEN: &str = "import half_copied\n";

/// Breaks the code and kills one worker.
fn lose_a_worker(server: &Server) -> i32 {
    server.directory.write("app.py", BROKEN);
    let victim = server.worker();
    server.from_now();
    Process::find(victim).unwrap().signal(Signal::SIGKILL);
    victim
}

fn mend(server: &Server) {
    let mended = APP.replace("VERSION = \"1\"", "VERSION = \"2\"");
    server.directory.write("app.py", &mended);
}

#[test]
fn with_preload_the_successor_is_forked_from_the_good_parent() {
    let server = Server::start("preload = true\nworkers = 2");
    let dead = lose_a_worker(&server);
    server.says(" ready");
    eventually("two workers", || {
        server.generations()[0].children().len() == 2
    });
    assert!(Process::find(dead).is_none());
    for _ in 0..10 {
        assert_eq!(server.text("/version"), "1");
    }
    assert!(!server.has_said("Traceback"));
}

#[test]
fn without_preload_the_others_serve_on_with_an_alarm_until_it_is_mended() {
    let server = Server::start("workers = 2");
    server.says("serving");
    lose_a_worker(&server);
    server.says("ModuleNotFoundError: No module named 'half_copied'");
    server.says(
        "[ERROR] generation=1 2 starts in a row failed: the next in 0.10s; 1 of 2 workers serve on",
    );
    for _ in 0..10 {
        assert_eq!(server.text("/version"), "1");
    }
    mend(&server);
    server.says(" ready");
    eventually("two workers", || {
        server.generations()[0].children().len() == 2
    });
}

#[test]
fn when_all_workers_are_lost_connections_wait_and_the_end_of_the_deployment_serves_them_at_once() {
    let server = Server::start("workers = 1");
    lose_a_worker(&server);
    server.says("[CRITICAL] … no worker serves, connections wait");
    let mut waiting = server.client();
    waiting.send("GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
    server.signal(Signal::SIGHUP);
    server.says("reload … rejected");
    mend(&server);
    server.signal(Signal::SIGHUP);
    server.applied();
    assert_eq!(waiting.response().text(), "2");
}
