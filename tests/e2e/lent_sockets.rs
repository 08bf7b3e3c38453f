//! `gunicorn.socket`: WSGI apps that speak WebSocket themselves, on the socket of their client, in every class.

mod leaving;
mod limits;
mod loan;
mod packages;

use crate::harness::{Client, Server, Setup};

const CLASSES: [&str; 4] = [
    "threads = 1",
    "threads = 4",
    "worker_class = 'gevent'",
    "worker_class = 'eventlet'",
];

/// Says back what it hears, but for some words. It needs no package.
const APP: &str = r#"
import os, time
kept = []

def app(environ, start_response):
    path, socket = environ["PATH_INFO"], environ.get("gunicorn.socket")
    def answer(text):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(text).encode()]
    if path == "/pid":
        return answer(os.getpid())
    if path == "/has":
        return answer(socket is not None)
    if path == "/repr":
        return answer(f"{environ} {socket.getpeername()}" and "shown")
    if path == "/keep":
        kept.append(socket)
        return answer("kept")
    if path == "/kept":
        try:
            kept.pop().sendall(b"from the past")
        except OSError as error:
            return answer(error.errno)
        return answer("sent")
    if path == "/late":
        time.sleep(4)
    socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while word := socket.recv(65536):
        if word == b"end":
            raise StopIteration
        if word == b"fail":
            raise ValueError("on purpose")
        if word == b"answer":
            return answer("out of place")
        if word == b"return":
            return None
        if word == b"kept":
            kept.append(socket)
            raise StopIteration
        if word == b"class":
            import socket as library
            word = str(type(socket) is library.socket and socket.gettimeout() is None).encode()
        if word == b"fork":
            if (child := os.fork()) == 0:
                socket.settimeout(2)
                os._exit(0 if socket.recv(1) == b"" else 1)
            word = str(os.waitpid(child, 0)[1]).encode()
        socket.sendall(word)
    raise StopIteration
"#;

#[track_caller]
fn start(config: &str) -> Server {
    Setup::with(&format!("app = 'app:app'\n{config}"))
        .app(APP)
        .start()
}

/// A request for a WebSocket.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A connection on which the app speaks.
#[track_caller]
fn open(server: &Server) -> Client {
    let mut client = server.client();
    client.send(handshake("/"));
    let head = client.some().unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", server.log());
    client
}

/// What the app says to a word.
#[track_caller]
fn say(client: &mut Client, word: &str) -> String {
    client.send(word);
    String::from_utf8(client.some().unwrap()).unwrap()
}
