//! `rgunicorn top`, on paper and in a pseudo-terminal.

use std::{
    io::{Read as _, Write as _},
    os::unix::{net::UnixListener, process::CommandExt as _},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::support::{get, post, status};
use crate::harness::{
    DEADLINE, Hammer, InTime, Server, Setup, eventually, venv_python, wait_in_time,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rgunicorn");

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

fn command(server: &Server) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["top", "--once"]);
    command.current_dir(server.directory.path());
    command
}

#[track_caller]
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Types the keys, each at the next frame: `W` makes the window smaller, `H`, `I` and `T` send SIGHUP, SIGINT and SIGTERM.
fn in_terminal(server: &Server, keys: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/admin/top.py");
    let output = Command::new(venv_python())
        .args([script, keys, PROGRAM, "top"])
        .current_dir(server.directory.path())
        .env("TERM", "xterm-256color")
        .output_in_time()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn one_frame_tells_rates_workers_slow_requests_and_the_last_reload() {
    let server = Setup::with("workers = 2\nthreads = 2").start();
    server.says("workers=2 serving");
    assert_eq!(post(&server, "/reload").status, 200);
    let hammer = Hammer::start(server.address(), "/", 2, 2);
    let mut slow = server.client();
    slow.send("GET /sleep?s=8 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        status(&server).to_string().contains("/sleep?s=8")
    });
    let frame = printed(command(&server).output_in_time().unwrap());
    hammer.stop();
    let line = |start: &str| {
        let mut lines = frame.lines().filter(|line| line.starts_with(start));
        lines.next().unwrap_or_else(|| panic!("{start}:\n{frame}"))
    };
    let rate = line("requests ").split_whitespace().nth(1).unwrap();
    let rate: f64 = rate.strip_suffix("/s").unwrap().parse().unwrap();
    assert!(rate > 5.0, "{frame}");
    assert!(line("requests ").contains("2xx"), "{frame}");
    assert!(
        line("latency ").contains("p50 ") && line("latency ").contains("p99 "),
        "{frame}"
    );
    assert!(
        line("workers ").contains("2 of 2 ready, generation 2 serves"),
        "{frame}"
    );
    // At the moment of the frame, the other thread may be at one of the quick requests.
    assert!(
        (frame.contains("50%") || frame.contains("100%")) && frame.contains('█'),
        "one of two threads is busy, at least:\n{frame}"
    );
    let slowest = frame.split("SLOWEST REQUESTS IN FLIGHT\n").nth(1).unwrap();
    let slowest = slowest.lines().next().unwrap();
    assert!(
        slowest.contains("GET /sleep?s=8") && slowest.contains("pid "),
        "{frame}"
    );
    assert!(
        line("").contains("serving, up ") && frame.contains("reload=1 done"),
        "{frame}"
    );
    assert!(!frame.contains('\u{1b}'), "{frame}");
}

/// Hands on what the server says, with the path of a request made hostile: the server itself refuses such bytes.
fn relay(server: &Server, listener: &UnixListener) {
    listener.set_nonblocking(true).unwrap();
    for _ in 0..6 {
        let mut stream = None;
        eventually("it asks", || {
            stream = listener.accept().ok();
            stream.is_some()
        });
        let (mut stream, _) = stream.unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        let body = get(server, text.split(' ').nth(1).unwrap()).text();
        let body = body.replace("/sleep", r"/sleep\u001b[2J\u009b31m\u202e");
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).unwrap();
    }
}

#[test]
fn what_clients_send_does_not_steer_the_terminal() {
    let server = Server::start("threads = 2");
    let mut slow = server.client();
    slow.send("GET /sleep?s=8 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        status(&server).to_string().contains("/sleep?s=8")
    });
    let listener = UnixListener::bind(server.directory.path().join("relay.sock")).unwrap();
    let mut command = command(&server);
    let command = command
        .args(["--socket", "relay.sock"])
        .process_group(0)
        .stdout(Stdio::piped());
    let command = command.spawn().unwrap();
    relay(&server, &listener);
    let frame = printed(wait_in_time(command).unwrap());
    assert!(frame.contains("GET /sleep?[2J?31m??s=8"), "{frame:?}");
    let harmful = |one: char| (one.is_control() && one != '\n') || one == '\u{202e}';
    assert!(!frame.contains(harmful), "{frame:?}");
}

#[test]
fn a_terminal_is_drawn_anew_each_second_and_left_as_it_was() {
    let server = Server::start("");
    for (keys, end) in [
        ("nsWq", "q"),
        ("n\u{3}", "Ctrl-C"),
        ("nT", "SIGTERM"),
        ("nI", "SIGINT"),
        ("nH", "SIGHUP"),
    ] {
        let seen = in_terminal(&server, keys);
        assert_eq!(seen["code"], 0, "{end}: {seen}");
        assert_eq!(seen["restored"], true, "{end}");
        let frames = seen["frames"].as_array().unwrap();
        assert!(frames[0].as_str().unwrap().contains(ENTER), "{end}: {seen}");
        for frame in frames {
            assert!(
                frame.as_str().unwrap().contains("LAST EVENTS"),
                "{end}: {seen}"
            );
        }
        let all = frames.iter().chain([&seen["rest"]]);
        let all: String = all.filter_map(Value::as_str).collect();
        assert!(all.contains(LEAVE), "{end}: {seen}");
        let is_sorted = all.contains("sorted by busy");
        assert_eq!(is_sorted, keys.contains('s'), "{end}: {seen}");
    }
}

#[test]
fn without_a_server_it_says_so() {
    let setup = Setup::plain();
    let output = Command::new(PROGRAM)
        .args(["top", "--once"])
        .current_dir(setup.path())
        .output_in_time()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}
