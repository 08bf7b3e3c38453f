//! Deadlines and counts: what bounds a request does not bound a socket that the app has taken.

use std::{thread::sleep, time::Duration};

use super::{CLASSES, handshake, open, say, start};
use crate::harness::{Client, Process};

#[test]
fn the_time_of_a_request_ends_where_the_app_takes_it() {
    for class in CLASSES {
        let server = start(&format!("{class}\n[timeouts]\nrequest = 2"));
        let mut client = open(&server);
        sleep(Duration::from_millis(3500));
        assert_eq!(say(&mut client, "hello"), "hello", "{class}");
        client.send("end");
        client.expect_closed();
        assert!(!server.has_said("timeouts.request"), "{}", server.log());
        let late = server.client().request(&handshake("/late"));
        assert_eq!(late.status, 504, "{class}");
        server.says("interrupted after timeouts.request: GET /late");
        assert_eq!(server.text("/has"), "False");
    }
}

#[test]
fn a_worker_all_of_whose_threads_have_one_does_not_stand_still() {
    for class in CLASSES {
        let server = start(&format!("{class}\n[timeouts]\nworker = 2"));
        let count = if class == "threads = 1" { 1 } else { 4 };
        let mut clients: Vec<Client> = (0..count).map(|_| open(&server)).collect();
        sleep(Duration::from_millis(4500));
        for client in &mut clients {
            assert_eq!(say(client, "hello"), "hello", "{class}");
        }
        assert_eq!(server.workers().len(), 1, "{}", server.log());
    }
}

/// As with Gunicorn's `gthread`.
#[test]
fn each_has_a_thread_and_who_finds_none_waits() {
    let server = start("threads = 8");
    let mut clients: Vec<Client> = (0..8).map(|_| open(&server)).collect();
    let mut waits = server.client();
    waits.send("GET /has HTTP/1.1\r\nHost: h\r\n\r\n");
    waits.expect_silence(Duration::from_millis(700));
    for client in &mut clients {
        assert_eq!(say(client, "hello"), "hello");
    }
    clients[3].send("end");
    assert_eq!(waits.response().text(), "False");
    // One thread is free: it serves all others.
    for _ in 0..20 {
        assert_eq!(server.text("/has"), "False");
    }
}

#[test]
fn many_are_open_side_by_side_in_one_hub() {
    for class in ["gevent", "eventlet"] {
        let server = start(&format!("worker_class = '{class}'"));
        let mut clients: Vec<Client> = (0..200).map(|_| open(&server)).collect();
        for round in 0..3 {
            for client in &mut clients {
                client.send(format!("round {round}"));
            }
            for client in &mut clients {
                let said = client.some().unwrap();
                assert_eq!(said, format!("round {round}").as_bytes(), "{class}");
            }
        }
        assert_eq!(server.text("/has"), "False", "others are served meanwhile");
        for client in &mut clients {
            client.send("end");
        }
        clients.iter_mut().for_each(Client::expect_closed);
        assert!(!server.has_said("Traceback"), "{}", server.log());
    }
}

#[test]
fn one_that_is_silent_costs_no_processor() {
    for class in ["threads = 4", "worker_class = 'gevent'"] {
        let server = start(class);
        let worker = Process::find(server.workers()[0]).unwrap();
        let mut client = open(&server);
        assert_eq!(say(&mut client, "hello"), "hello");
        sleep(Duration::from_millis(1500));
        let before = worker.sleeps();
        sleep(Duration::from_secs(2));
        let sleeps = worker.sleeps() - before;
        assert!(sleeps < 40, "{class}: {sleeps}");
        assert_eq!(say(&mut client, "hello"), "hello");
    }
}
