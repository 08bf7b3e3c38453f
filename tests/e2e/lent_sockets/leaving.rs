//! A worker that leaves ends the sockets that its app has, and its clients come back to those that stay.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{CLASSES, open, say, start};
use crate::harness::Client;

#[test]
fn a_reload_ends_them_and_their_clients_come_back() {
    for class in CLASSES {
        let server = start(&format!("{class}\n[timeouts]\ngraceful = 8"));
        let count = if class == "threads = 1" { 1 } else { 3 };
        let mut clients: Vec<Client> = (0..count).map(|_| open(&server)).collect();
        let old = server.workers()[0];
        server.signal(Signal::SIGHUP);
        server.says("generation=1 drains");
        let begun = Instant::now();
        for client in &mut clients {
            assert_eq!(say(client, "still"), "still", "{class}");
        }
        clients.iter_mut().for_each(Client::expect_closed);
        let took = begun.elapsed();
        let range = Duration::from_millis(1500)..Duration::from_secs(7);
        assert!(range.contains(&took), "{class}: {took:?}");
        server.applied();
        let mut client = open(&server);
        assert_eq!(say(&mut client, "again"), "again", "{class}");
        assert_ne!(server.workers(), [old]);
        assert!(!server.has_said("Traceback"), "{}", server.log());
        assert!(!server.has_said("timeouts.graceful"), "{}", server.log());
    }
}

#[test]
fn a_stop_ends_them() {
    for class in CLASSES {
        let server = start(&format!("{class}\n[timeouts]\ngraceful = 4"));
        let mut client = open(&server);
        server.signal(Signal::SIGTERM);
        assert_eq!(say(&mut client, "still"), "still", "{class}");
        client.expect_closed();
        let exit = server.ended();
        assert_eq!(exit.code, Some(0), "{class}");
        assert!(!exit.log.contains("Traceback"), "{}", exit.log);
        assert!(!exit.log.contains("timeouts.graceful"), "{}", exit.log);
    }
}

#[test]
fn a_quick_stop_does_not_wait_for_them() {
    for class in CLASSES {
        let server = start(class);
        let mut client = open(&server);
        let begun = Instant::now();
        server.signal(Signal::SIGQUIT);
        client.expect_closed();
        let exit = server.ended();
        assert!(begun.elapsed() < Duration::from_secs(10), "{class}");
        assert_eq!(exit.code, Some(0), "{class}");
    }
}

#[test]
fn a_worker_that_has_served_its_time_ends_them() {
    for class in ["threads = 4", "worker_class = 'gevent'"] {
        let server = start(&format!(
            "{class}\n[limits]\nmax_requests = 3\n[timeouts]\ngraceful = 4"
        ));
        let mut client = open(&server);
        for _ in 0..3 {
            server.text("/has");
        }
        client.expect_closed();
        let mut client = open(&server);
        assert_eq!(say(&mut client, "again"), "again", "{class}");
    }
}

#[test]
fn they_live_through_an_upgrade() {
    let server = start("threads = 2");
    let mut client = open(&server);
    server.signal(Signal::SIGUSR2);
    server.says("upgrade done");
    assert_eq!(say(&mut client, "still"), "still");
}
