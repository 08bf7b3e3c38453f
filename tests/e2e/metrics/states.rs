//! Gauges: what connections, threads and workers are doing now.

use nix::sys::signal::Signal;

use super::scrape::{Samples, becomes};
use crate::harness::{Client, Process, Server, Setup};

fn send(server: &Server, bytes: &str) -> Client {
    let mut client = server.client();
    client.send(bytes);
    client
}

#[test]
fn connections_and_threads_are_told_by_what_they_do() {
    let server = Server::start("threads = 2");
    let mut idle = server.client();
    idle.get("/");
    let mut reading = send(&server, "GET / HTTP/1.1\r\nHo");
    let samples = becomes(&server, "connections{state=\"reading\"}", 1.0);
    assert_eq!(samples.get("connections{state=\"idle\"}"), 1.0);
    assert_eq!(samples.get("threads{state=\"busy\"}"), 0.0);
    assert_eq!(samples.get("threads{state=\"idle\"}"), 2.0);

    let sleep = "GET /sleep?s=3 HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut first = send(&server, sleep);
    becomes(&server, "threads{state=\"busy\"}", 1.0);
    let second = send(&server, sleep);
    let samples = becomes(&server, "threads{state=\"busy\"}", 2.0);
    assert_eq!(samples.get("connections{state=\"app\"}"), 2.0);
    assert_eq!(samples.get("threads{state=\"idle\"}"), 0.0);
    // It had begun before, so that this worker has to finish it.
    reading.send("st: test\r\n\r\n");
    becomes(&server, "connections{state=\"waiting\"}", 1.0);
    assert_eq!(first.response().text(), "slept");
    assert_eq!(reading.response().text(), "hello from /");
    drop((first, second, reading));
    becomes(&server, "threads{state=\"busy\"}", 0.0);
    let samples = becomes(&server, "connections{state=\"idle\"}", 1.0);
    let waited = samples.get("request_wait_seconds_sum");
    assert!((0.5..4.0).contains(&waited), "{waited}");
}

#[test]
fn who_does_not_read_shows_as_writing_and_no_thread_is_busy() {
    let server = Server::start("");
    let client = send(
        &server,
        "GET /large?size=30000000 HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    let samples = becomes(&server, "connections{state=\"writing\"}", 1.0);
    assert_eq!(samples.get("threads{state=\"busy\"}"), 0.0);
    drop(client);
    becomes(&server, "connections{state=\"writing\"}", 0.0);
}

#[test]
fn websockets_and_their_messages_are_counted() {
    const APP: &str = r#"
async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "one"})
        await send({"type": "websocket.send", "text": "two"})
"#;
    let server = Setup::with("app = 'app:app'").app(APP).start();
    let handshake = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let mut client = send(&server, handshake);
    let samples = becomes(&server, "connections{state=\"websocket\"}", 1.0);
    assert_eq!(samples.get("websockets_opened_total"), 1.0);
    assert_eq!(samples.get("connections{state=\"app\"}"), 0.0);
    // A masked text frame, "hi", with a mask of zeroes.
    client.send(b"\x81\x82\0\0\0\0hi");
    becomes(&server, "websocket_messages_total{direction=\"sent\"}", 2.0);
    let received = handshake.len() as f64 + 8.0;
    let samples = becomes(&server, "received_bytes_total", received);
    assert_eq!(
        samples.get("websocket_messages_total{direction=\"received\"}"),
        1.0
    );
    assert_eq!(samples.sum("requests_total"), 0.0, "it has not ended");
    drop(client);
    let samples = becomes(
        &server,
        "requests_total{method=\"GET\",status=\"1xx\"}",
        1.0,
    );
    assert_eq!(samples.get("connections{state=\"websocket\"}"), 0.0);
    assert_eq!(samples.get("request_duration_seconds_count"), 0.0);
}

#[test]
fn a_websocket_that_a_wsgi_app_speaks_itself_is_counted() {
    const APP: &str = r#"
def app(environ, start_response):
    socket = environ["gunicorn.socket"]
    socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    socket.recv(1)
    raise StopIteration
"#;
    for class in ["threads = 2", "worker_class = 'gevent'"] {
        let server = Setup::with(&format!("app = 'app:app'\n{class}"))
            .app(APP)
            .start();
        let handshake =
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let client = send(&server, handshake);
        let samples = becomes(&server, "connections{state=\"websocket\"}", 1.0);
        assert_eq!(samples.get("websockets_opened_total"), 1.0);
        assert_eq!(samples.get("connections{state=\"app\"}"), 0.0);
        drop(client);
        let samples = becomes(
            &server,
            "requests_total{method=\"GET\",status=\"1xx\"}",
            1.0,
        );
        assert_eq!(samples.get("connections{state=\"websocket\"}"), 0.0);
        assert_eq!(samples.get("request_duration_seconds_count"), 0.0);
    }
}

#[test]
fn what_nobody_accepts_is_told_as_backlog() {
    let server = Server::start("backlog = 100");
    let listener = format!("listener=\"http://127.0.0.1:{}\"", server.port());
    let worker = Process::find(server.worker()).unwrap();
    let limit = Samples::of(&server).get(&format!("accept_backlog_limit{{{listener}}}"));
    assert_eq!(limit, 100.0);
    worker.signal(Signal::SIGSTOP);
    // A connection that says nothing is not there yet.
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let clients: Vec<Client> = (0..7).map(|_| send(&server, request)).collect();
    becomes(&server, &format!("accept_backlog{{{listener}}}"), 7.0);
    worker.signal(Signal::SIGCONT);
    becomes(&server, &format!("accept_backlog{{{listener}}}"), 0.0);
    drop(clients);
}

#[test]
fn so_is_what_waits_at_a_unix_socket() {
    let server = Server::start("bind = ['127.0.0.1:0', 'unix:{dir}/a.sock']\nbacklog = 100");
    let [_, address] = &server.addresses()[..] else {
        panic!("two addresses");
    };
    let series = |name: &str| {
        let listener = server.directory.path().join("a.sock");
        format!("{name}{{listener=\"unix:{}\"}}", listener.display())
    };
    assert_eq!(
        Samples::of(&server).get(&series("accept_backlog_limit")),
        100.0
    );
    let worker = Process::find(server.worker()).unwrap();
    worker.signal(Signal::SIGSTOP);
    let clients: Vec<Client> = (0..7).map(|_| Client::to(address)).collect();
    becomes(&server, &series("accept_backlog"), 7.0);
    worker.signal(Signal::SIGCONT);
    becomes(&server, &series("accept_backlog"), 0.0);
    drop(clients);
}

#[test]
fn workers_and_memory_are_told() {
    let server = Server::start("workers = 3");
    let samples = becomes(&server, "workers{state=\"ready\"}", 3.0);
    assert_eq!(samples.get("workers_wanted"), 3.0);
    for name in [
        "resident_memory_bytes{process=\"arbiter\"}",
        "resident_memory_bytes{process=\"generation\"}",
        "worker_resident_memory_bytes{slot=\"2\"}",
    ] {
        let bytes = samples.get(name);
        assert!((1e6..1e9).contains(&bytes), "{name}: {bytes}");
    }
    let started = samples.get("start_time_seconds");
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((0.0..60.0).contains(&(now - started)), "{started}");
}
