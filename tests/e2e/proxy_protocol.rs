//! The PROXY protocol before the first request: in every worker class, for the whole connection, and in nobody else's hands.

use std::{process::Command, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{Client, InTime, Server, Setup, venv_python};

const APP: &str = include_str!("apps/client.py");
const CLASSES: [&str; 5] = ["sync", "gthread", "gevent", "eventlet", "asgi"];
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";

fn setup(class: &str, config: &str, proxy: &str) -> Setup {
    let attribute = if class == "asgi" {
        "app"
    } else {
        "application"
    };
    let threads = if class == "gthread" { 4 } else { 1 };
    Setup::with(&format!(
        "app = 'app:{attribute}'\nworker_class = '{class}'\nthreads = {threads}\n{config}\n[proxy]\n{proxy}"
    ))
    .app(APP)
}

/// A header of version 2: command, family and transport, addresses and extensions.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[0x20 | command, family][..],
        &length,
        block,
    ]
    .concat()
}

fn v4(port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    let block = [
        &[192, 0, 2, 2, 198, 51, 100, 7][..],
        &port,
        &[1, 187],
        &[4, 0, 1, 7],
    ]
    .concat();
    binary(1, 0x11, &block)
}

/// What the app says about the client, without the port of the socket, which nobody chose.
#[track_caller]
fn next(client: &mut Client) -> String {
    client.send(REQUEST);
    answer(client)
}

#[track_caller]
fn answer(client: &mut Client) -> String {
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    let text = response.text();
    match text.split_once("127.0.0.1:") {
        Some((before, _)) => format!("{before}socket"),
        None => text,
    }
}

#[test]
fn the_address_counts_for_the_whole_connection_in_every_worker_class() {
    for class in CLASSES {
        let server = setup(class, "", "protocol = 'auto'").start();
        let mut line = server.client();
        line.send(LINE);
        let mut header = server.client();
        header.send(v4(80));
        for _ in 0..3 {
            assert_eq!(next(&mut line), "192.0.2.1 56324 http h socket", "{class}");
            assert_eq!(next(&mut header), "192.0.2.2 80 http h socket", "{class}");
        }
        // Header and requests in one piece, pipelined.
        let mut client = server.client();
        client.send([LINE, REQUEST, REQUEST].concat());
        for _ in 0..2 {
            assert_eq!(
                answer(&mut client),
                "192.0.2.1 56324 http h socket",
                "{class}"
            );
        }
    }
}

#[test]
fn the_address_goes_with_the_connection_to_another_worker_and_generation() {
    for class in CLASSES {
        let server = setup(class, "workers = 2", "protocol = 'auto'").start();
        server.says_times(2, " ready");
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(v4(1000 + number as u16));
            assert_eq!(
                next(client),
                format!("192.0.2.2 {} http h socket", 1000 + number),
                "{class}"
            );
        }
        // One that has said nothing yet is still expected to introduce itself afterwards.
        let mut silent = server.client();
        server.signal(Signal::SIGHUP);
        server.says("reload=1 done");
        server.applied();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                next(client),
                format!("192.0.2.2 {} http h socket", 1000 + number),
                "{class}"
            );
        }
        silent.send(LINE);
        assert_eq!(
            next(&mut silent),
            "192.0.2.1 56324 http h socket",
            "{class}"
        );
    }
}

#[test]
fn a_websocket_has_the_address_too() {
    let server = setup("asgi", "", "protocol = 'v1'").start();
    let script = format!(
        "import socket\nfrom websockets.sync.client import connect\n\
         sock = socket.create_connection(('127.0.0.1', {}))\nsock.sendall({LINE:?}.encode())\n\
         with connect('ws://h/', sock=sock) as ws:\n    first = ws.recv(20)\n    ws.send('x')\n    assert ws.recv(20) == first\n    print(first)",
        server.port()
    );
    let output = Command::new(venv_python())
        .args(["-c", &script])
        .output_in_time()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.starts_with("192.0.2.1 56324 ws h 127.0.0.1:"),
        "{text}{errors}"
    );
}

#[test]
fn load_balancers_that_speak_for_themselves_or_tell_nothing_are_served() {
    let server = setup("sync", "", "protocol = 'auto'").start();
    let forged = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    for (header, expected) in [
        // A health check: the peer is the load balancer, which is trusted here.
        (binary(0, 0, b""), "6.6.6.6 - http h socket"),
        // A client that is not told: the load balancer's address, and no trust.
        (binary(1, 0, b""), "127.0.0.1 "),
        (binary(1, 0x31, &[0; 216]), "127.0.0.1 "),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1 "),
        // A client that is told is no proxy, so it is not believed.
        (LINE.as_bytes().to_vec(), "192.0.2.1 56324 http h socket"),
        (
            b"PROXY TCP6 2001:db8::1 ::1 9 80\r\n".to_vec(),
            "2001:db8::1 9 http h socket",
        ),
        // A client that is a trusted proxy is.
        (
            b"PROXY TCP4 127.0.0.1 127.0.0.1 9 80\r\n".to_vec(),
            "6.6.6.6 - http h socket",
        ),
    ] {
        let mut client = server.client();
        client.send(&header);
        client.send(forged);
        let told = answer(&mut client);
        assert!(told.starts_with(expected), "{header:?}: {told}");
        assert!(
            expected.len() < 12 || told == expected,
            "{header:?}: {told}"
        );
    }
    // A check that connects and leaves is nothing to speak of.
    drop(server.client());
    assert_eq!(
        next(&mut introduced(&server)),
        "192.0.2.1 56324 http h socket"
    );
    assert!(!server.log().contains("WARNING"), "{}", server.log());
}

fn introduced(server: &Server) -> Client {
    let mut client = server.client();
    client.send(LINE);
    client
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let server = setup("sync", "", "protocol = 'auto'").start();
    for header in [LINE.as_bytes().to_vec(), v4(9)] {
        let mut client = server.client();
        for byte in header {
            client.send([byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(next(&mut client).starts_with("192.0.2."));
    }
}

#[test]
fn a_connection_that_does_not_begin_so_is_refused() {
    let server = setup("sync", "", "protocol = 'v2'").start();
    let too_long = binary(0, 0, &[0; 9000]);
    for start in [
        REQUEST.as_bytes(),
        LINE.as_bytes(),
        b"\x16\x03\x01",
        &binary(2, 0x11, b""),
        &too_long,
    ] {
        let mut client = server.client();
        client.send(start);
        let response = client.response();
        assert_eq!(response.status, 400, "{start:?}");
        assert!(response.says_close());
    }
    let mut cut = server.client();
    cut.send(&v4(9)[..20]);
    cut.finish_sending();
    assert_eq!(cut.response().status, 400);
    server.prints("\"GET / HTTP/1.1\" 400");
}

#[test]
fn a_header_that_is_slow_is_given_up() {
    let server = setup("sync", "timeouts = { header = '1s' }", "protocol = 'v1'").start();
    let mut slow = server.client();
    slow.send("PROXY TCP4");
    let mut silent = server.client();
    assert_eq!(slow.response().status, 408);
    // Who said nothing is told nothing.
    silent.expect_closed();
}

#[test]
fn a_stranger_may_not_introduce_anybody() {
    let proxy = "protocol = 'auto'\nprotocol_allow_ips = '10.0.0.0/8'";
    let server = setup("sync", "", proxy).start();
    for start in [LINE, REQUEST] {
        let mut client = server.client();
        client.send(start);
        assert_eq!(client.response().status, 403);
    }
    server.says(
        "worker=1 refused a connection from 127.0.0.1, which is not in proxy.protocol_allow_ips",
    );
    server.prints("127.0.0.1 - -…403");

    // Who may open the UNIX socket may.
    let server = setup("sync", "bind = 'unix:run.sock'", proxy).start();
    assert_eq!(
        next(&mut introduced(&server)),
        "192.0.2.1 56324 http h unix"
    );
}

#[test]
fn where_it_is_off_it_is_a_bad_request() {
    let server = setup("sync", "", "").start();
    for introduction in [
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n".to_vec(),
        v4(1),
    ] {
        let mut client = server.client();
        client.send(introduction);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().status, 400);
    }
    let told = "[WARNING] … refused a connection from 127.0.0.1, which began with the PROXY protocol: … switch proxy.protocol on";
    server.says(told);
    let log = server.log();
    assert_eq!(
        log.matches("began with the PROXY").count(),
        1,
        "once a minute"
    );
}

#[test]
fn the_health_check_of_a_reload_needs_no_header() {
    let server = setup("sync", "reload = { health_check = '/' }", "protocol = 'v1'").start();
    assert_eq!(
        next(&mut introduced(&server)),
        "192.0.2.1 56324 http h socket"
    );
}
