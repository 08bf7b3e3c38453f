//! Signals to the arbiter, with Gunicorn's meanings.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{APP, Process, Server, Setup, eventually};

#[test]
fn term_finishes_what_is_in_flight_and_ends_with_success() {
    let server = Server::start("");
    let mut idle = server.client();
    idle.get("/");
    let mut client = server.busy_with("/sleep?s=1");
    server.signal(Signal::SIGTERM);
    let response = client.response();
    assert_eq!(response.text(), "slept");
    assert!(response.says_close());
    idle.expect_closed();
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn term_waits_no_longer_than_the_grace() {
    let server = Server::start("[timeouts]\ngraceful = '1s'");
    let _client = server.busy_with("/sleep?s=60");
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(
        exit.log.contains("GET /sleep"),
        "the request that was cut is named"
    );
}

#[test]
fn int_and_quit_end_it_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let server = Server::start("");
        let _client = server.busy_with("/sleep?s=60");
        let start = Instant::now();
        server.signal(signal);
        assert_eq!(server.ended().code, Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(5), "{signal}");
    }
}

#[test]
fn a_quick_stop_ends_a_graceful_one() {
    let server = Server::start("");
    let _client = server.busy_with("/sleep?s=60");
    server.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    server.signal(Signal::SIGINT);
    assert_eq!(server.ended().code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_second_term_cuts_nothing() {
    let server = Server::start("");
    let mut client = server.busy_with("/sleep?s=2");
    for _ in 0..3 {
        server.signal(Signal::SIGTERM);
        server.says("signal SIGTERM received");
    }
    assert_eq!(client.response().text(), "slept");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn hup_replaces_every_worker_though_nothing_changed() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    server.says_times(2, " ready");
    server.applied();
    eventually("the old workers are gone", || {
        old.iter().all(|pid| Process::find(*pid).is_none())
    });
}

#[test]
fn ttin_and_ttou_survive_a_reload_unless_it_changes_the_workers() {
    let server = Server::start("workers = 1");
    let count = || {
        server
            .generations()
            .iter()
            .map(|g| g.children().len())
            .sum::<usize>()
    };
    server.signal(Signal::SIGTTIN);
    eventually("one worker more", || count() == 2);
    server.signal(Signal::SIGTTIN);
    eventually("one worker more", || count() == 3);
    server.signal(Signal::SIGTTOU);
    eventually("one worker fewer", || count() == 2);

    server.edit("workers = 1\nthreads = 2");
    server.applied();
    eventually("one generation with the workers asked for", || {
        server.generations().len() == 1 && count() == 2
    });

    server.edit("workers = 3\nthreads = 2");
    server.applied();
    eventually("the workers of the file", || count() == 3);
}

#[test]
fn the_last_worker_cannot_be_taken_away() {
    let server = Server::start("");
    server.signal(Signal::SIGTTOU);
    // Signals that wait together have no order.
    server.says("workers=1 wanted");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTTIN);
    server.says("worker=2 … ready");
    server.signal(Signal::SIGTTOU);
    server.says("worker … left");
    server.signal(Signal::SIGTTOU);
    server.says("workers=1 wanted");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn usr1_reopens_the_logs_after_a_rotation() {
    let server = Setup::with("[log]\naccess = 'access.log'\nformat = 'common'").start();
    let path = server.directory.path();
    server.text("/before");
    eventually("logged", || {
        server.directory.read("access.log").contains("/before")
    });
    fs::rename(path.join("access.log"), path.join("access.log.1")).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually("the file is there again", || {
        path.join("access.log").exists()
    });
    eventually("the worker writes to it", || {
        server.text("/after");
        server.directory.read("access.log").contains("/after")
    });
    assert!(server.directory.read("access.log.1").contains("/before"));
}

#[test]
fn a_child_nobody_knows_is_reaped_silently() {
    let server = Server::start("");
    let orphan: i32 = server.text("/orphan").parse().unwrap();
    server.from_now();
    eventually("the orphan is reaped", || Process::find(orphan).is_none());
    assert!(
        !server.log().contains(&orphan.to_string()),
        "{}",
        server.log()
    );
}

#[test]
fn a_generation_that_somebody_stopped_does_not_keep_the_server() {
    let server = Server::start("[timeouts]\ngraceful = '1s'");
    server.generations()[0].signal(Signal::SIGSTOP);
    let below = server.below();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
    eventually("all others are gone", || {
        !below.iter().any(|process| process.is_alive())
    });
}

#[test]
fn an_app_that_ignores_signals_is_stopped_all_the_same() {
    let app = format!(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{APP}"
    );
    let server = Setup::with("[timeouts]\ngraceful = '1s'").app(&app).start();
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_hup_to_all_processes_ends_none_of_them() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let family = server.below();
    for process in &family {
        process.signal(Signal::SIGHUP);
    }
    server.signal(Signal::SIGWINCH);
    for _ in 0..20 {
        assert_eq!(server.text("/"), "hello from /");
    }
    assert!(family.iter().all(|process| process.is_alive()));
    // As `pkill -HUP rgunicorn` does it: the arbiter alone acts, and rolls.
    server.signal(Signal::SIGHUP);
    server.applied();
}
