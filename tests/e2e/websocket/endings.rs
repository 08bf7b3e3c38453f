//! How a WebSocket ends: what the app, the log and the client are told, and that nothing is lost that came before.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::{APP, handshake, start};
use crate::harness::{Client, Server, Setup, eventually};

#[track_caller]
fn open(server: &Server, path: &str) -> Client {
    let mut client = server.client();
    client.send(handshake(path));
    assert!(client.some().unwrap().starts_with(b"HTTP/1.1 101 "));
    client
}

/// More messages than are read ahead of the app, and a goodbye: 1000.
fn many_messages_and_goodbye() -> Vec<u8> {
    let mut frames = b"\x81\x84maskTEXT".repeat(1_000);
    frames.extend_from_slice(b"\x88\x82\0\0\0\0\x03\xe8");
    frames
}

#[track_caller]
fn everything_is_told(server: &Server, leave: impl FnOnce(Client)) {
    let mut client = open(server, "/slow");
    client.send(many_messages_and_goodbye());
    leave(client);
    eventually("the app had all of it", || {
        server.text("/") == "[(1000, 1000)]"
    });
}

#[test]
fn what_came_before_the_end_is_told_however_slow_the_app_is() {
    everything_is_told(&start(""), |mut client| {
        client.finish_sending();
        let answer = client.rest().unwrap();
        assert_eq!(answer, b"\x88\x02\x03\xe8");
    });
    everything_is_told(&start(""), drop);
    // Both directions of a UNIX socket are gone at once.
    let behind_a_proxy = Setup::with("app = 'app:app'\nbind = 'unix:{dir}/app.sock'");
    everything_is_told(&behind_a_proxy.app(APP).start(), drop);
}

#[test]
fn what_came_before_a_reset_is_told_however_slow_the_app_is() {
    everything_is_told(&start(""), |client| {
        thread::sleep(Duration::from_millis(100));
        client.reset();
    });
}

#[test]
fn an_app_that_leaves_messages_unread_does_not_hold_its_client_up() {
    let server = start("");
    let mut client = open(&server, "/returns-late");
    client.send(many_messages_and_goodbye());
    let begun = Instant::now();
    assert_eq!(client.rest().unwrap(), b"\x88\x02\x03\xe8");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_client_that_vanishes_within_a_frame_is_given_up() {
    let server = start("[websocket]\nping_interval = 1\nping_timeout = 1");
    let mut dead = open(&server, "/");
    dead.send(b"\x81");
    let all = dead.rest().unwrap();
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("a ping was not answered in time"), "{text}");
    eventually("the app was told", || server.text("/").contains("(1011,"));
}

#[test]
fn a_client_that_is_lost_leaves_no_traceback() {
    let server = start("");
    for path in ["/", "/closes", "/flood"] {
        open(&server, path).reset();
    }
    eventually("the apps ended", || {
        let ends = server.text("/");
        ["(1006,", "tidied up", "flood"]
            .iter()
            .all(|end| ends.contains(end))
    });
    assert!(!server.has_said("Exception ignored"), "{}", server.log());
    assert!(!server.has_said("Traceback"), "{}", server.log());
}

#[test]
fn an_app_may_close_what_its_client_has_closed() {
    let server = start("");
    let mut client = open(&server, "/closes");
    client.send(b"\x88\x82\0\0\0\0\x03\xe8");
    assert_eq!(client.rest().unwrap(), b"\x88\x02\x03\xe8");
    eventually("the app went on", || {
        server.text("/") == "['tidied up', 'closed twice']"
    });
    assert!(!server.has_said("the app failed"), "{}", server.log());
}

#[test]
fn an_app_may_close_what_the_server_has_closed() {
    let server = start("[timeouts]\ngraceful = 4");
    let mut client = open(&server, "/closes");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    let goodbye = client.rest().unwrap();
    assert_eq!(goodbye[2..4], 1012_u16.to_be_bytes());
    server.applied();
    assert!(!server.has_said("the app failed"), "{}", server.log());
}

#[test]
fn a_client_that_leaves_before_the_app_has_decided_counts_as_499() {
    let server = start("");
    let mut client = server.client();
    client.send(handshake("/undecided"));
    thread::sleep(Duration::from_millis(200));
    drop(client);
    server.prints("\"GET /undecided HTTP/1.1\" 499");
}

#[test]
fn a_refused_handshake_ends_the_connection() {
    let server = start("");
    for (path, status, body) in [
        ("/denied", 403, ""),
        ("/answered", 401, "who are you?"),
        ("/changes-its-mind", 403, ""),
    ] {
        let mut client = server.client();
        let refused = client.request(&handshake(path));
        assert_eq!((refused.status, refused.text().as_str()), (status, body));
        assert!(refused.says_close(), "{path}: {refused:?}");
        client.expect_closed();
    }
}

#[test]
fn who_still_sends_a_body_is_not_reset_by_the_answer() {
    let server = start("");
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Content-Length: 3\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for _ in 0..3 {
        stream.write_all(b"x").expect("the body is read away");
        thread::sleep(Duration::from_millis(50));
    }
}
