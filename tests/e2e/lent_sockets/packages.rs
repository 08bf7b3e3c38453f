//! What apps use: flask-sock on simple-websocket, Flask-SocketIO in its three modes, eventlet's own WebSockets.

use std::process::Command;

use super::{CLASSES, handshake};
use crate::harness::{InTime, Server, Setup, eventually, venv_python};

const FLASK_SOCK: &str = r#"
from flask import Flask, request
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 1}
sock = Sock(app)
ends = []

@sock.route("/echo")
def echo(socket):
    try:
        while True:
            message = socket.receive()
            if message == "fail":
                raise ValueError("on purpose")
            if message == "leave":
                return
            socket.send(message)
    finally:
        ends.append("end")

@app.route("/ends")
def count():
    return str(len(ends))
"#;

/// Runs a client; it must end well.
#[track_caller]
fn client(server: &Server, script: &str) {
    let preface = format!(
        "import time\nfrom websockets.sync.client import connect\nfrom websockets.exceptions import *\nport = {}\n\
         url = f'ws://127.0.0.1:{{port}}'\n",
        server.port()
    );
    let output = Command::new(venv_python())
        .args(["-c", &(preface + script)])
        .output_in_time()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", server.log());
}

#[track_caller]
fn start(class: &str, app: &str) -> Server {
    Setup::with(&format!("app = 'app:app'\n{class}"))
        .app(app)
        .start()
}

#[test]
fn flask_sock_sends_messages_both_ways() {
    for class in CLASSES {
        let server = start(class, FLASK_SOCK);
        client(
            &server,
            r#"
with connect(url + "/echo", max_size=None) as socket:
    for message in ["text", "äöü €" * 1000, b"bytes", b"x" * 100_000]:
        socket.send(message)
        assert socket.recv(timeout=10) == message
    for number in range(500):
        socket.send(str(number))
    assert [socket.recv(timeout=10) for _ in range(500)] == [str(number) for number in range(500)]
    time.sleep(2.5)  # and pongs meanwhile
    socket.send("still here")
    assert socket.recv(timeout=10) == "still here"
    socket.close(1000, "done")
with connect(url + "/echo") as socket:
    socket.send("leave")
    try:
        socket.recv(timeout=10)
        raise AssertionError
    except ConnectionClosed as error:
        assert error.rcvd.code == 1000, error
with connect(url + "/echo") as socket:
    socket.send("fail")
    try:
        socket.recv(timeout=10)
        raise AssertionError
    except ConnectionClosed as error:
        assert error.rcvd is None, error
"#,
        );
        assert_eq!(server.text("/ends"), "3", "{class}");
        server.prints("\"GET /echo HTTP/1.1\" 101");
        // Flask's, and none of ours.
        assert_eq!(server.log().matches("Traceback").count(), 1);
    }
}

/// Blocking sockets take a message whole; simple-websocket sends once, which is less in greenlets, in Gunicorn too.
#[test]
fn flask_sock_sends_large_messages_from_threads() {
    let server = start("threads = 4", FLASK_SOCK);
    client(
        &server,
        r#"
with connect(url + "/echo", max_size=None) as socket:
    for size in [5_000_000, 20_000_000]:
        socket.send(b"x" * size)
        assert len(socket.recv(timeout=20)) == size
"#,
    );
}

#[test]
fn flask_sock_refuses_what_is_no_handshake_and_the_connection_goes_on() {
    for class in CLASSES {
        let server = start(class, FLASK_SOCK);
        let mut client = server.client();
        assert_eq!(client.get("/echo").status, 400, "{class}");
        let bad = handshake("/echo").replace("Version: 13", "Version: 12");
        let refused = client.request(&bad);
        assert_eq!(refused.status, 500, "{class}");
        assert_eq!(client.get("/ends").text(), "0", "{class}");
    }
}

#[test]
fn flask_sock_notices_a_client_that_vanished() {
    for class in CLASSES {
        let server = start(class, FLASK_SOCK);
        let mut dead = server.client();
        dead.send(handshake("/echo"));
        // It answers no ping.
        let all = dead.rest_until_closed();
        assert!(String::from_utf8_lossy(&all).contains("Ping/Pong timeout"));
        eventually("the app was told", || server.text("/ends") == "1");
    }
}

#[test]
fn flask_socketio_speaks_in_its_three_modes() {
    for (class, mode) in [
        ("threads = 4", "threading"),
        ("worker_class = 'gevent'", "gevent"),
        ("worker_class = 'eventlet'", "eventlet"),
    ] {
        let app = format!(
            r#"
from flask import Flask, request
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, async_mode="{mode}")

@socketio.on("say")
def say(text):
    emit("said", text, broadcast=True)
    return request.environ["wsgi.url_scheme"]

@app.route("/")
def index():
    return "served"
"#
        );
        let server = start(class, &app);
        client(
            &server,
            r#"
import queue, socketio
said = queue.Queue()

def connected(transports):
    one = socketio.Client(reconnection=False)
    one.on("said", said.put)
    one.connect(f"http://127.0.0.1:{port}", transports=transports)
    return one

for transports in [["websocket"], ["polling", "websocket"]]:
    one, other = connected(transports), connected(transports)
    assert one.call("say", "hello", timeout=10) == "http"
    assert [said.get(timeout=10) for _ in range(2)] == ["hello", "hello"]
    other.emit("say", "x" * 50_000)
    assert [len(said.get(timeout=10)) for _ in range(2)] == [50_000] * 2
    assert one.transport() == "websocket", one.transport()
    one.disconnect()
    other.disconnect()
"#,
        );
        assert_eq!(server.text("/"), "served");
        server.prints("transport=websocket");
        assert!(!server.log().contains("Traceback"), "{}", server.log());
    }
}

#[test]
fn eventlets_own_websockets_are_served() {
    const APP: &str = r#"
from eventlet import websocket

@websocket.WebSocketWSGI
def echo(socket):
    while (message := socket.wait()) is not None:
        if message == "leave":
            return
        socket.send(message)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/echo":
        return echo(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"#;
    let server = start("worker_class = 'eventlet'", APP);
    client(
        &server,
        r#"
with connect(url + "/echo", max_size=None) as socket:
    for message in ["text", b"bytes", b"x" * 3_000_000]:
        socket.send(message)
        assert socket.recv(timeout=10) == message
    socket.send("leave")
    try:
        socket.recv(timeout=10)
        raise AssertionError
    except ConnectionClosedOK:
        pass
"#,
    );
    assert_eq!(server.get("/echo").status, 400);
    assert_eq!(server.text("/"), "served");
    assert!(!server.log().contains("Traceback"), "{}", server.log());
}
