//! WebSockets, spoken by the `websockets` package and by hand.

mod endings;
mod floods;

use std::{process::Command, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{InTime, Process, Server, Setup, eventually, venv_python};

const APP: &str = r#"
import asyncio, os, time
ends = []

async def app(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/block":
            time.sleep(4)
        body = repr(ends).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        return
    assert scope["type"] == "websocket", scope["type"]
    assert (await receive())["type"] == "websocket.connect"
    path = scope["path"]
    if path == "/undecided":
        await asyncio.sleep(60)
    if path == "/denied":
        return await send({"type": "websocket.close"})
    if path == "/answered":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"no cookie")]})
        await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
        return await send({"type": "websocket.http.response.body", "body": b"you?"})
    if path == "/half-answered":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        return await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
    if path == "/changes-its-mind":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
        return await send({"type": "websocket.close"})
    if path == "/raises":
        raise RuntimeError("on purpose")
    if path == "/nothing":
        return
    chosen = scope["subprotocols"][-1] if scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x-scheme", scope["scheme"].encode())]})
    if path == "/leaves":
        return await send({"type": "websocket.close", "code": 3001, "reason": "that is all"})
    if path == "/breaks":
        raise RuntimeError("within")
    if path == "/returns-late":
        await asyncio.sleep(0.3)
    if path in ("/returns", "/returns-late"):
        return
    if path == "/flood":
        try:
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 65536})
        except OSError:
            ends.append("flood")
            return
    if path in ("/slow", "/sink"):
        count = 0
        while (message := await receive())["type"] == "websocket.receive":
            count += 1
            if path == "/slow":
                await asyncio.sleep(0.001)
        ends.append((count, message["code"]))
        return
    if path == "/closes":
        while (await receive())["type"] == "websocket.receive":
            pass
        await send({"type": "websocket.close"})
        ends.append("tidied up")
        try:
            await send({"type": "websocket.close"})
        except RuntimeError:
            ends.append("closed twice")
        return
    if path == "/forks":
        if (child := os.fork()) == 0:
            return await send({"type": "websocket.send", "text": "from the child"})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        await send({"type": "websocket.send", "text": str(code)})
    if path == "/lazy":
        await asyncio.sleep(1)
    if path == "/busy":
        await asyncio.sleep(4)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            ends.append((message["code"], message["reason"]))
            return
        answer = {key: value for key, value in message.items() if key != "type"}
        if path == "/lazy":
            answer = {"text": str(len(answer["bytes"]))}
        await send({"type": "websocket.send", **answer})
"#;

#[track_caller]
fn start(config: &str) -> Server {
    Setup::with(&format!("app = 'app:app'\n{config}"))
        .app(APP)
        .start()
}

/// Runs a client; it must end well.
#[track_caller]
fn client(server: &Server, script: &str) {
    let preface = format!(
        "import sys, time, websockets\nfrom websockets.sync.client import connect\nfrom websockets.exceptions import *\nurl = 'ws://127.0.0.1:{}'\n",
        server.port()
    );
    let output = Command::new(venv_python())
        .args(["-c", &(preface + script)])
        .output_in_time()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", server.log());
}

#[test]
fn messages_go_both_ways() {
    let server = start("");
    client(
        &server,
        r#"
with connect(url + "/", subprotocols=["a", "b"], max_size=None) as socket:
    assert socket.subprotocol == "b"
    assert socket.response.headers["x-scheme"] == "ws"
    for message in ["text", "äöü €" * 1000, b"bytes", b"", "", "x" * 5_000_000]:
        socket.send(message)
        assert socket.recv(timeout=10) == message
    socket.send(["in ", "three ", "parts"])
    assert socket.recv(timeout=10) == "in three parts"
    assert socket.ping().wait(10)
    for number in range(1000):
        socket.send(str(number))
    assert [socket.recv(timeout=10) for _ in range(1000)] == [str(number) for number in range(1000)]
    socket.close(1000, "done")
with connect(url + "/", compression=None) as socket:
    socket.send("plain")
    assert socket.recv(timeout=10) == "plain"
"#,
    );
    eventually("the app was told", || {
        server.text("/").starts_with("[(1000, 'done'), (1000, '')")
    });
    server.prints("\"GET / HTTP/1.1\" 101");
}

#[test]
fn the_app_decides_about_the_handshake() {
    let server = start("");
    client(
        &server,
        r#"
def refused(path):
    try:
        connect(url + path).close()
    except InvalidStatus as error:
        return error.response
    raise AssertionError(path)

assert refused("/denied").status_code == 403
answered = refused("/answered")
assert (answered.status_code, answered.headers["x-why"], answered.body) == (401, "no cookie", b"who are you?")
assert refused("/raises").status_code == 500
assert refused("/nothing").status_code == 500
half = refused("/half-answered")
assert (half.status_code, half.body) == (500, b""), half
"#,
    );
    server.says("RuntimeError: on purpose");
    server.says("the app neither accepted nor closed the WebSocket of GET /nothing");
}

#[test]
fn a_handshake_that_breaks_the_rules_is_answered() {
    let server = start("");
    let ask = |fields: &str| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        );
        server.client().request(&request)
    };
    assert_eq!(ask("Sec-WebSocket-Version: 13\r\n").status, 400);
    let old = ask("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
    assert_eq!(old.status, 426);
    assert_eq!(old.field("Sec-WebSocket-Version").as_deref(), Some("13"));
}

#[test]
fn what_the_app_forks_says_nothing_on_it() {
    let server = start("");
    client(
        &server,
        r#"
with connect(url + "/forks") as socket:
    assert socket.recv(timeout=10) == "0"
    socket.send("still here")
    assert socket.recv(timeout=10) == "still here"
"#,
    );
    server.says("which the app forked, came back from the app and was ended");
}

#[test]
fn either_side_may_end_it() {
    let server = start("");
    client(
        &server,
        r#"
def closed(path):
    with connect(url + path) as socket:
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as error:
            return error.rcvd.code, error.rcvd.reason
assert closed("/leaves") == (3001, "that is all")
assert closed("/breaks")[0] == 1011
assert closed("/returns")[0] == 1000
with connect(url + "/") as socket:
    socket.close(4000, "mine")
with connect(url + "/") as socket:
    socket.socket.close()
"#,
    );
    eventually("the app was told", || {
        let ends = server.text("/");
        ends.contains("(4000, 'mine')") && ends.contains("(1006,")
    });
    server.says("RuntimeError: within");
}

#[test]
fn a_message_that_is_too_long_ends_it() {
    let server = start("[websocket]\nmessage_size = '1KiB'");
    client(
        &server,
        r#"
for compression in ["deflate", None]:
    with connect(url + "/", compression=compression) as socket:
        socket.send("x" * 1024)
        assert len(socket.recv(timeout=10)) == 1024
        socket.send("x" * 1025)
        try:
            socket.recv(timeout=10)
            raise AssertionError
        except ConnectionClosed as error:
            assert error.rcvd.code == 1009, error
"#,
    );
}

#[test]
fn a_client_that_is_silent_is_pinged_and_given_up() {
    let server = start("[websocket]\nping_interval = 1\nping_timeout = 1");
    client(
        &server,
        r#"
with connect(url + "/", ping_interval=None) as socket:
    time.sleep(4)
    socket.send("still here")
    assert socket.recv(timeout=10) == "still here"
"#,
    );
    let mut dead = server.client();
    dead.send(handshake("/"));
    let all = dead.rest().unwrap();
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(text.contains("a ping was not answered in time"), "{text}");
    eventually("the app was told", || server.text("/").contains("(1011,"));
}

#[test]
fn a_pong_that_came_in_time_counts_after_an_app_that_blocked_the_loop() {
    let server = start("[websocket]\nping_interval = 1\nping_timeout = 2");
    // More than a turn of the loop hears of at once.
    client(
        &server,
        &format!(
            r#"
import socket
def connected(request):
    connection = socket.create_connection(url[5:].split(":"), timeout=10)
    connection.sendall(request)
    return connection
def hears(connection, wanted):
    seen = b""
    while wanted not in seen:
        data = connection.recv(65536)
        assert data, seen
        seen += data
sockets = [connected({:?}.encode()) for _ in range(130)]
for one in sockets:
    hears(one, b"\x89\x00")
busy = connected(b"GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
for one in sockets:
    one.sendall(b"\x8a\x80mask")
hears(busy, b"HTTP/1.1 200 OK")
for one in sockets:
    one.sendall(b"\x81\x81\0\0\0\0x")
    hears(one, b"\x81\x01x")
"#,
            handshake("/")
        ),
    );
}

#[test]
fn a_client_whose_messages_the_app_leaves_unread_is_not_given_up() {
    let server = start("[websocket]\nping_interval = 1\nping_timeout = 1");
    client(
        &server,
        r#"
with connect(url + "/busy", ping_interval=None) as socket:
    for number in range(100):
        socket.send(str(number))
    assert [socket.recv(timeout=10) for _ in range(100)] == [str(number) for number in range(100)]
"#,
    );
}

#[test]
fn a_client_that_reads_slowly_is_not_given_up() {
    let server = start("[websocket]\nping_interval = 1\nping_timeout = 1");
    client(
        &server,
        r#"
import os
from urllib.request import urlopen
socket = connect(url + "/flood", max_queue=1, ping_interval=None, compression=None)
for _ in range(40):
    assert len(socket.recv(timeout=10)) == 65536
    time.sleep(0.1)
assert urlopen("http" + url[2:], timeout=20).read() == b"[]"
os._exit(0)
"#,
    );
}

#[test]
fn what_grows_when_it_is_decompressed_is_not_read_far_ahead() {
    let server = start("");
    let worker = Process::find(server.workers()[0]).unwrap();
    let before = worker.peak_memory();
    client(
        &server,
        r#"
with connect(url + "/lazy") as socket:
    for number in range(20):
        socket.send(bytes(8 << 20))
    for number in range(20):
        assert socket.recv(timeout=30) == str(8 << 20)
"#,
    );
    let grown = (worker.peak_memory() - before) >> 20;
    assert!(grown < 80, "{grown} MiB");
}

#[test]
fn who_does_not_read_makes_the_other_wait() {
    let server = start("");
    client(
        &server,
        r#"
with connect(url + "/flood", max_queue=1) as socket:
    time.sleep(1)
with connect(url + "/lazy", compression=None) as socket:
    for number in range(200):
        socket.send(b"x" * 100_000)
    for number in range(200):
        assert socket.recv(timeout=10) == "100000"
"#,
    );
    eventually("the flood ended", || server.text("/").contains("flood"));
}

#[test]
fn a_worker_that_leaves_says_goodbye() {
    let server = start("[timeouts]\ngraceful = 4");
    let pid = server.arbiter();
    client(
        &server,
        &format!(
            r#"
import os, signal
with connect(url + "/") as socket:
    socket.send("before")
    assert socket.recv(timeout=10) == "before"
    os.kill({}, signal.SIGHUP)
    socket.send("after")
    assert socket.recv(timeout=10) == "after"
    try:
        socket.recv(timeout=10)
        raise AssertionError
    except ConnectionClosed as error:
        assert error.rcvd.code == 1012, error
"#,
            pid.pid
        ),
    );
    eventually("the old worker left", || server.generations().len() == 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_client_that_does_not_answer_the_goodbye_holds_no_worker_that_leaves() {
    let server = start("[timeouts]\ngraceful = 8");
    let mut dead = server.client();
    dead.send(handshake("/"));
    let accepted = dead.some().unwrap();
    assert!(accepted.starts_with(b"HTTP/1.1 101 "));
    server.signal(Signal::SIGHUP);
    server.applied();
    assert!(!server.has_said("timeouts.graceful"), "it left by itself");
    let goodbye = dead.rest().unwrap();
    assert_eq!(goodbye[2..4], 1012_u16.to_be_bytes());
}

#[test]
fn the_time_of_a_request_bounds_the_handshake_and_not_what_follows() {
    let server = start("[timeouts]\nrequest = 1");
    let mut client = server.client();
    assert_eq!(client.request(&handshake("/undecided")).status, 504);
    server.says("cancelled after timeouts.request: the WebSocket of GET /undecided");
    self::client(
        &server,
        r#"
with connect(url + "/") as socket:
    time.sleep(2.5)
    socket.send("still here")
    assert socket.recv(timeout=10) == "still here"
"#,
    );
    assert!(!server.has_said("Traceback"), "{}", server.log());
}

/// A request for a WebSocket, by hand.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

#[test]
fn starlettes_websockets_are_served() {
    let server = Setup::with("app = 'app:app'")
        .app(
            r#"
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

async def chat(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            await socket.send_json({"heard": await socket.receive_text(), "path": socket.url.path})
    except WebSocketDisconnect as end:
        print(f"left {end.code}", flush=True)

app = Starlette(routes=[WebSocketRoute("/chat", chat)])
"#,
        )
        .start();
    client(
        &server,
        r#"
with connect(url + "/chat") as socket:
    socket.send("hello")
    assert socket.recv(timeout=10) == '{"heard":"hello","path":"/chat"}'
"#,
    );
    server.prints("left 1000");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!server.log().contains("Traceback"));
}
