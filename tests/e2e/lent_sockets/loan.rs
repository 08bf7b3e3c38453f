//! Who has the socket, and what becomes of the connection.

use nix::libc::{EBADF, EPIPE};

use super::{CLASSES, handshake, open, say, start};
use crate::harness::{Client, Setup};

#[test]
fn an_app_speaks_on_it_as_long_as_it_likes() {
    for class in CLASSES {
        let server = start(class);
        let mut client = open(&server);
        assert_eq!(say(&mut client, "hello"), "hello", "{class}");
        assert_eq!(say(&mut client, "class"), "True", "{class}");
        client.send("end");
        client.expect_closed();
        server.prints("\"GET / HTTP/1.1\" 101");
        assert_eq!(server.text("/has"), "False", "{class}");
        assert!(!server.has_said("Traceback"), "{}", server.log());
    }
}

#[test]
fn it_is_there_for_who_asks_for_a_websocket() {
    let server = start("");
    let has = |request: &str| server.client().request(request).text();
    assert_eq!(has(&handshake("/has")), "True");
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for request in [
        "GET /has HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /has HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "GET /has HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
        format!("GET /has HTTP/1.0\r\n{fields}\r\n"),
        format!("POST /has HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
        format!("GET /has HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\nx"),
    ] {
        assert_eq!(has(&request), "False", "{request}");
    }
}

#[test]
fn what_came_behind_the_request_is_not_the_apps_and_nobody_elses() {
    let server = start("");
    let mut client = server.client();
    client.send(handshake("/has") + "GET /pid HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().text(), "False");
    client.expect_closed();
}

#[test]
fn an_app_that_answers_leaves_the_socket_to_the_server() {
    for class in CLASSES {
        let server = start(class);
        for (path, expected) in [("/has", "True"), ("/repr", "shown"), ("/keep", "kept")] {
            let mut client = server.client();
            assert_eq!(client.request(&handshake(path)).text(), expected, "{class}");
            client.expect_closed();
        }
        assert_eq!(server.text("/kept"), EBADF.to_string(), "{class}");
        let mut client = server.client();
        client.send(handshake("/"));
        assert!(client.some().unwrap().starts_with(b"HTTP/1.1 101 "));
        assert_eq!(say(&mut client, "hello"), "hello");
    }
}

#[test]
fn one_that_was_used_is_over_with_the_call() {
    for class in CLASSES {
        let server = start(class);
        for word in ["answer", "return", "fail", "kept"] {
            let mut client = open(&server);
            client.send(word);
            client.expect_closed();
        }
        server.says("the app failed on GET /");
        server.says("ValueError: on purpose");
        let end = EPIPE.to_string();
        assert_eq!(server.text("/kept"), end, "{class}");
        assert!(!server.log().contains("StopIteration"));
        assert!(!server.printed().contains("\" 500 "));
    }
}

#[test]
fn a_client_that_leaves_frees_its_thread() {
    for class in CLASSES {
        let server = start(class);
        let mut gone: Vec<Client> = Vec::new();
        for _ in 0..if class.contains('1') { 1 } else { 4 } {
            gone.push(open(&server));
        }
        gone.into_iter().for_each(Client::reset);
        let mut client = open(&server);
        client.finish_sending();
        client.expect_closed();
        assert_eq!(server.text("/has"), "False");
        assert!(!server.has_said("Traceback"), "{}", server.log());
    }
}

#[test]
fn what_the_app_forks_finds_the_end_there() {
    for class in CLASSES {
        let server = start(class);
        let mut client = open(&server);
        assert_eq!(say(&mut client, "fork"), "0", "{class}");
        assert_eq!(say(&mut client, "hello"), "hello", "{class}");
    }
}

#[test]
fn it_is_lent_over_a_unix_socket() {
    for class in CLASSES {
        let config = format!("app = 'app:app'\nbind = 'unix:{{dir}}/app.sock'\n{class}");
        let server = Setup::with(&config).app(super::APP).start();
        let mut client = open(&server);
        assert_eq!(say(&mut client, "class"), "True", "{class}");
        client.send("end");
        client.expect_closed();
    }
}
