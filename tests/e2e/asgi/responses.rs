//! Responses: streams, files, those that contradict themselves, and clients that leave or do not read.

use std::time::Duration;

use super::{counter, setup, start};
use crate::harness::eventually;

/// Goes on with its body when it is told to.
const STREAM: &str = "
import asyncio, os
async def app(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'first', 'more_body': True})
    while not os.path.exists('go-on'):
        await asyncio.sleep(0.01)
    await send({'type': 'http.response.body', 'body': b'second'})
";

#[test]
fn a_stream_is_sent_as_it_comes() {
    let server = setup("").app(STREAM).start();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let mut received = String::new();
    while !received.contains("first") {
        received += &String::from_utf8(client.some().unwrap()).unwrap();
    }
    assert!(received.contains("Transfer-Encoding: chunked"));
    server.directory.write("go-on", "");
    let rest = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(
        rest.contains("second") && rest.ends_with("0\r\n\r\n"),
        "{rest}"
    );
}

/// Has nothing to say for a while.
const QUIET: &str = "
import asyncio

async def app(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'', 'more_body': True})
    await asyncio.sleep(1)
    await send({'type': 'http.response.body', 'body': b'at last'})
";

#[test]
fn an_empty_part_of_the_body_sends_the_head() {
    let server = setup("").app(QUIET).start();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let head = String::from_utf8(client.some().unwrap()).unwrap();
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let rest = String::from_utf8(client.rest().unwrap()).unwrap();
    assert_eq!(rest, "7\r\nat last\r\n0\r\n\r\n");
}

#[test]
fn http_1_0_and_head_get_no_chunks() {
    let server = start("");
    let mut client = server.client();
    let old = client.request("GET /stream HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(old.text(), "chunk 0\nchunk 1\nchunk 2\n");
    assert!(old.field("Transfer-Encoding").is_none());
    let mut client = server.client();
    client.send("HEAD /large?size=70000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.try_response("HEAD").unwrap();
    assert_eq!(head.field("Content-Length").as_deref(), Some("70000"));
    assert_eq!(client.get("/").text(), "hello from /");
}

/// Says the length of what it would send, as Starlette's `FileResponse` does, and sends nothing.
const LEAVES_BODY_OUT: &str = "
async def app(scope, receive, send):
    status = 304 if scope['path'] == '/304' else 200
    headers = [] if scope['query_string'] else [(b'content-length', b'5')]
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    body = b'12345' if (scope['method'], status) == ('GET', 200) else b''
    await send({'type': 'http.response.body', 'body': body})
";

#[test]
fn an_app_may_leave_out_a_body_that_would_not_go_out() {
    let server = setup("").app(LEAVES_BODY_OUT).start();
    let mut client = server.client();
    for (request, length) in [
        ("HEAD /", Some("5")),
        ("HEAD /?unsaid", None),
        ("GET /304", Some("5")),
        ("GET /304?unsaid", None),
        ("HEAD /304", Some("5")),
    ] {
        let response = client.request(&format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let expected = if request.contains("304") { 304 } else { 200 };
        assert_eq!(response.status, expected, "{request}");
        let said = response.field("Content-Length");
        assert_eq!(said.as_deref(), length, "{request}");
        assert_eq!(client.get("/").text(), "12345", "after {request}");
    }
}

#[test]
fn a_slow_reader_makes_the_app_wait() {
    const BYTES: usize = 100 << 20;
    let server = start("");
    let mut reader = server.client();
    reader.send(format!(
        "GET /flood?size={BYTES} HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    let taken = || counter(&server, "taken").parse::<usize>().unwrap();
    eventually("the app has begun", || taken() > 0);
    std::thread::sleep(Duration::from_millis(300));
    let before = taken();
    assert!(
        before < 32 << 20,
        "{before} bytes were taken that nobody read"
    );
    assert_eq!(reader.response().body.len(), BYTES);
    let rss: u64 = server.text("/rss").parse().unwrap();
    assert!(rss < 100 << 20, "{rss}");
}

#[test]
fn a_slow_client_is_cut_off_and_holds_nothing_up() {
    let server = start("[timeouts]\nwrite = 1");
    let mut stalled = server.client();
    stalled.send("GET /flood?size=100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.text("/"), "hello from /");
    assert!(stalled.rest_until_closed().len() < 100_000_000);
}

#[test]
fn the_app_learns_that_its_client_is_gone_at_every_stage() {
    let server = start("");
    // Before the answer.
    let client = {
        let mut client = server.client();
        client.send("GET /wait-for-disconnect HTTP/1.1\r\nHost: test\r\n\r\n");
        client
    };
    eventually("it waits", || {
        counter(&server, "/wait-for-disconnect") == "1"
    });
    drop(client);
    eventually("it was told", || counter(&server, "gone") == "1");
    // Within the answer.
    let mut client = server.client();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
    client.some().unwrap();
    drop(client);
    eventually("the stream ended", || {
        counter(&server, "told") == "1" || counter(&server, "raised") != "0"
    });
    // Within the body.
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc");
    eventually("it reads", || counter(&server, "/echo") == "1");
    drop(client);
    eventually("it was cut off", || counter(&server, "cut") == "1");
    assert!(!server.log().contains("Traceback"), "{}", server.log());
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    let server = start("");
    for target in [
        "/",
        "/sleep?s=0.3",
        "/sleep?s=0.8",
        "/stream?n=3&pause=0.1",
        "/large?size=5000000",
    ] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.finish_sending();
        assert_eq!(client.response().status, 200, "{target}");
        client.expect_closed();
    }
}

#[test]
fn an_answer_that_contradicts_itself_is_an_error() {
    let server = start("");
    let request = |target: &str| {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.rest().unwrap()
    };
    let text = |target: &str| String::from_utf8(request(target)).unwrap();
    for target in [
        "/lengths?said=5&sent=4",
        "/lengths?said=5&sent=6",
        "/bad-header",
        "/nothing",
        "/error",
    ] {
        assert!(text(target).starts_with("HTTP/1.1 500 "), "{target}");
    }
    for target in [
        "/lengths?said=5&sent=4&pieces=1",
        "/lengths?said=5&sent=6&pieces=1",
    ] {
        let answer = text(target);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nx"),
            "{answer}"
        );
    }
    for target in ["/unfinished", "/error?late=1"] {
        let answer = text(target);
        assert!(answer.ends_with("4\r\npart\r\n"), "no last chunk: {answer}");
    }
    server.says("the app failed on GET /error");
    server.says("RuntimeError: the app is broken on purpose");
    server.says("the app returned without a response to GET /nothing");
    server.says("the app returned without completing its response to GET /unfinished");
    assert_eq!(server.text("/twice"), "once");
    assert_eq!(counter(&server, "refused"), "1");
}

#[test]
fn files_are_sent_by_their_path_and_hints_come_before() {
    let server = setup("")
        .file("data.bin", &"0123456789".repeat(50_000))
        .start();
    let path = server.directory.path().join("data.bin");
    let mut client = server.client();
    let file = client.get(&format!("/file?path={}", path.display()));
    assert_eq!(file.field("Content-Length").as_deref(), Some("500000"));
    assert_eq!(file.text(), "0123456789".repeat(50_000));
    let hinted = client.get("/hints");
    assert_eq!(
        (hinted.text().as_str(), hinted.interim.len()),
        ("hinted", 1)
    );
}

/// Sends while another task waits for a message of the client's, as frameworks do to learn that it has gone.
const LISTENS_AND_SENDS: &str = "
import asyncio
ends = []

async def listen(receive):
    while (await receive())['type'] != 'http.disconnect':
        pass
    ends.append('told')

async def app(scope, receive, send):
    if scope['path'] == '/ends':
        body = repr(ends).encode()
    else:
        body = b'x' * 50_000_000
        listening = asyncio.create_task(listen(receive))
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': body[:1], 'more_body': True})
    await send({'type': 'http.response.body', 'body': body[1:], 'more_body': True})
    if scope['path'] == '/and-wait':
        await listening
    await send({'type': 'http.response.body'})
";

#[test]
fn a_client_that_does_not_read_is_cut_off_while_it_is_listened_to() {
    let server = setup("[timeouts]\nwrite = 1\nbody = 60")
        .app(LISTENS_AND_SENDS)
        .start();
    let requests = [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc",
    ];
    let (mut stalled, mut ends) = (Vec::new(), Vec::new());
    for request in requests {
        let mut client = server.client();
        client.send(request);
        stalled.push(client);
        ends.push("'told'");
        let ends = format!("[{}]", ends.join(", "));
        eventually("it is given up", || server.text("/ends") == ends);
    }
}

#[test]
fn a_body_that_does_not_come_is_given_up_after_what_was_sent_is_read() {
    let server = setup("[timeouts]\nbody = 1").app(LISTENS_AND_SENDS).start();
    let mut client = server.client();
    client.send("POST /and-wait HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc");
    assert!(client.rest().unwrap().len() > 50_000_000);
    assert_eq!(server.text("/ends"), "['told']");
}

const EVENTLESS: &str = "
import asyncio

async def app(scope, receive, send):
    headers = [(b'content-type', b'text/event-stream')]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    if scope['path'] == '/fails':
        await asyncio.sleep(0.1)
        raise RuntimeError('no events')
    while (await receive())['type'] != 'http.disconnect':
        pass
";

#[test]
fn a_stream_that_has_nothing_to_say_yet_sends_its_head() {
    let server = setup("").app(EVENTLESS).start();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = String::from_utf8(client.some().unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("Transfer-Encoding: chunked\r\n\r\n") || head.ends_with("\r\n\r\n"));
    assert_eq!(server.get("/fails").status, 500);
}

#[test]
fn a_file_that_has_grown_is_sent_as_far_as_was_said_and_what_is_no_file_is_an_error() {
    let app = "
async def app(scope, receive, send):
    path = scope['path'][1:]
    headers = [(b'content-length', b'5')] if path == 'grown' else []
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.pathsend', 'path': path})
";
    let server = setup("").app(app).file("grown", "0123456789").start();
    nix::unistd::mkfifo(
        &server.directory.path().join("fifo"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let mut client = server.client();
    assert_eq!(client.get("/grown").text(), "01234");
    assert_eq!(client.get("/grown").text(), "01234");
    for path in ["/fifo", "/."] {
        assert_eq!(server.get(path).status, 500, "{path}");
    }
}
