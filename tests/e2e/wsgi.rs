//! What becomes of an app's answer: PEP 3333's rules of `start_response`, `write`, the iterable and its `close`.

mod early_hints;
mod file_wrapper;

use crate::harness::{Client, Server, Setup, eventually};

/// A server whose app is this body of `application(environ, start_response)`.
pub(crate) fn serving(body: &str) -> Server {
    serving_with("", body)
}

fn serving_with(config: &str, body: &str) -> Server {
    let body = body.trim().replace('\n', "\n    ");
    let app = format!("def application(environ, start_response):\n    {body}\n");
    Setup::with(config).app(&app).start()
}

#[test]
fn the_standard_librarys_validator_is_content() {
    let app = "
from wsgiref.validate import validator

def app(environ, start_response):
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'body ')
    return [body, b'!']

application = validator(app)
";
    let server = Setup::plain().app(app).start();
    let mut client = server.client();
    assert_eq!(client.get("/a?b=c").text(), "body !");
    assert_eq!(client.post("/a", "sent").text(), "body sent!");
    assert_eq!(
        client
            .request("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            .status,
        200
    );
}

#[test]
fn start_response_twice_is_an_error_unless_there_is_an_exception_to_tell_of() {
    let server = serving(
        "
start_response('200 OK', [('X-A', 'a')])
if environ['PATH_INFO'] == '/twice':
    start_response('201 Created', [])
try:
    raise ValueError('half way')
except ValueError:
    import sys
    start_response('503 Service Unavailable', [('X-B', 'b')], sys.exc_info())
return [b'sorry']
",
    );
    let replaced = server.get("/");
    assert_eq!(replaced.status, 503);
    assert_eq!(
        (replaced.field("x-a"), replaced.field("x-b")),
        (None, Some("b".to_owned()))
    );
    assert_eq!(server.get("/twice").status, 500);
    server.says("Traceback");
}

#[test]
fn start_response_with_exc_info_after_the_head_raises_the_exception_and_cuts_the_response() {
    let server = serving(
        "
import sys
write = start_response('200 OK', [])
write(b'begun')
try:
    raise ValueError('half way')
except ValueError:
    start_response('500 Oops', [], sys.exc_info())
return []
",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let error = client
        .try_response("GET")
        .expect_err("a response that looks whole");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    server.says("ValueError: half way");
}

#[test]
fn write_sends_before_what_is_returned() {
    let server = serving(
        "write = start_response('200 OK', [])\nwrite(b'one ')\nwrite(b'two ')\nreturn [b'three']",
    );
    let mut client = server.client();
    assert_eq!(client.get("/").text(), "one two three");
    assert_eq!(client.get("/").text(), "one two three");
}

#[test]
fn each_chunk_goes_out_before_the_next_is_asked_for() {
    let body = "
import os, time
def chunks():
    yield b'first'
    while not os.path.exists('go-on'):
        time.sleep(0.01)
    yield b'second'
start_response('200 OK', [])
return chunks()
";
    for config in ["", "threads = 2"] {
        let server = serving_with(config, body);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut received = String::new();
        while !received.contains("first") {
            received += &String::from_utf8(client.some().unwrap()).unwrap();
        }
        server.directory.write("go-on", "");
        while !received.ends_with("\r\n0\r\n\r\n") {
            received += &String::from_utf8(client.some().unwrap()).unwrap();
        }
        assert!(received.contains("second"), "{received}");
    }
}

#[test]
fn close_is_called_once_after_a_whole_response() {
    let server = Server::start("");
    assert_eq!(server.text("/stream?n=3"), "chunk 0\nchunk 1\nchunk 2\n");
    eventually("close() is called", || {
        server.text("/counter?name=closed+stream") == "1"
    });
}

#[test]
fn close_is_called_once_when_the_client_leaves() {
    for config in ["", "threads = 2"] {
        let server = Server::start(config);
        let mut leaver = server.client();
        leaver.send("GET /stream?n=1000&pause=0.02 HTTP/1.1\r\nHost: test\r\n\r\n");
        leaver.some().unwrap();
        drop(leaver);
        let closed = || server.text("/counter?name=closed+stream");
        eventually("close() is called", || closed() == "1");
        assert_eq!(closed(), "1");
    }
}

#[test]
fn close_is_called_once_when_the_app_fails_half_way() {
    let app = "
closed = 0
class Body:
    def __iter__(self):
        yield b'begun'
        raise ValueError('half way')
    def close(self):
        global closed
        closed += 1

def application(environ, start_response):
    start_response('200 OK', [])
    return Body() if environ['PATH_INFO'] == '/fail' else [b'%d' % closed]
";
    let server = Setup::plain().app(app).start();
    let mut client = server.client();
    client.send("GET /fail HTTP/1.1\r\nHost: test\r\n\r\n");
    client
        .try_response("GET")
        .expect_err("a response that looks whole");
    server.says("ValueError: half way");
    assert_eq!(server.text("/"), "1");
}

#[test]
fn a_body_shorter_than_its_content_length_ends_the_connection() {
    let server = serving("start_response('200 OK', [('Content-Length', '10')])\nreturn [b'12345']");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let all = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(all.ends_with("\r\n\r\n12345"), "{all}");
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
}

#[test]
fn a_body_longer_than_its_content_length_is_cut_and_does_not_leak_into_the_next_response() {
    for returned in [
        "[b'1234567890']",
        "[b'1234', b'567890']",
        "iter([b'12345', b'67890'])",
    ] {
        let server = serving(&format!(
            "start_response('200 OK', [('Content-Length', '5')])\nreturn {returned}"
        ));
        let mut client = server.client();
        let first = client.get("/");
        assert_eq!(first.text(), "12345");
        if first.says_close() {
            client.expect_closed();
        } else {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            let after = client.response_or_end().map(|response| response.body);
            assert!(after.is_none_or(|body| body == b"12345"));
        }
    }
}

#[test]
fn an_exception_before_the_head_is_a_500_and_its_traceback_is_in_the_error_log() {
    let server = Server::start("");
    let mut client = server.client();
    let response = client.get("/error");
    assert_eq!(response.status, 500);
    assert!(
        !response.text().contains("on purpose"),
        "the client sees the cause"
    );
    server.says("Traceback");
    server.says("RuntimeError: the app is broken on purpose");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn an_app_that_breaks_the_rules_is_a_500() {
    for broken in [
        "return [b'no start_response']",
        "start_response('200 OK', [('X', 'a\\r\\nInjected: b')])\nreturn []",
        "start_response('200 OK\\r\\nInjected: b', [])\nreturn []",
        "start_response('200 OK', [('X Y', 'a')])\nreturn []",
        "start_response('200 OK', [('X', 5)])\nreturn []",
        "start_response(200, [])\nreturn []",
        "start_response('OK', [])\nreturn []",
        "start_response('200 OK', [('Content-Length', 'many')])\nreturn []",
        "start_response('200 OK', [])\nreturn ['not bytes']",
        "start_response('200 OK', [])\nreturn None",
        "start_response('200 OK', [])\nreturn 5",
    ] {
        let server = serving(broken);
        let response = server.get("/");
        assert_eq!(response.status, 500, "{broken}");
        assert!(!response.head.contains("Injected"), "{broken}");
        server.says("the app failed on GET /");
    }
}

#[test]
fn hop_by_hop_fields_of_the_app_do_not_reach_the_client() {
    let server = serving(
        "start_response('200 OK', [('Connection', 'x'), ('Transfer-Encoding', 'chunked'), ('Keep-Alive', '5'), \
         ('Content-Length', '2'), ('X-Kept', 'yes'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')])\nreturn [b'ok']",
    );
    let response = server.get("/");
    assert_eq!(response.text(), "ok");
    assert!(!response.chunked);
    assert_eq!(response.field("keep-alive"), None);
    assert_eq!(response.field("x-kept").as_deref(), Some("yes"));
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    assert!(response.field("date").unwrap().ends_with(" GMT"));
}

#[test]
fn head_204_and_304_have_no_body_and_the_connection_goes_on() {
    let server = serving(
        "
status = {'/204': '204 No Content', '/304': '304 Not Modified'}.get(environ['PATH_INFO'], '200 OK')
start_response(status, [('Content-Length', '4')] if environ['PATH_INFO'] == '/length' else [])
return [b'body']
",
    );
    let mut client = server.client();
    for request in [
        "HEAD / HTTP/1.1",
        "HEAD /length HTTP/1.1",
        "GET /204 HTTP/1.1",
        "GET /304 HTTP/1.1",
    ] {
        let response = client.request(&format!("{request}\r\nHost: test\r\n\r\n"));
        if response.status == 204 {
            assert_eq!(response.field("content-length"), None);
            assert_eq!(response.field("transfer-encoding"), None);
        }
        assert_eq!(client.get("/").text(), "body", "after {request}");
    }
    let head = client.request("HEAD /length HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(head.field("content-length").as_deref(), Some("4"));
}

#[test]
fn a_body_that_the_app_leaves_out_says_no_length() {
    let server = serving(
        "
kinds = {'/list': [], '/bytes': [b''], '/generator': (b'' for _ in [1])}
status = '304 Not Modified' if environ['QUERY_STRING'] else '200 OK'
start_response(status, [])
return kinds[environ['PATH_INFO']]
",
    );
    let mut client = server.client();
    for kind in ["list", "bytes", "generator"] {
        for (request, length) in [
            (format!("GET /{kind}"), Some("0")),
            (format!("HEAD /{kind}"), None),
            (format!("GET /{kind}?304"), None),
            (format!("HEAD /{kind}?304"), None),
        ] {
            let response = client.request(&format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n"));
            let said = response.field("content-length");
            assert_eq!(said.as_deref(), length, "{request}");
            assert_eq!(response.field("transfer-encoding"), None, "{request}");
        }
    }
}

#[test]
fn the_app_can_have_the_connection_closed() {
    for (value, closes) in [("close", true), ("keep-alive, Close", true), ("x", false)] {
        let server = serving(&format!(
            "start_response('200 OK', [('Connection', '{value}')])\nreturn [b'']"
        ));
        let mut client = server.client();
        assert_eq!(client.get("/").says_close(), closes, "{value}");
        match closes {
            true => client.expect_closed(),
            false => assert_eq!(client.get("/").status, 200),
        }
    }
}

#[test]
fn http_1_0_gets_no_chunks_and_keeps_the_connection_only_when_it_asks() {
    let server = Server::start("");
    let mut client = server.client();
    let streamed = client.request("GET /stream HTTP/1.0\r\n\r\n");
    assert!(!streamed.chunked);
    assert!(streamed.text().ends_with("chunk 2\n"));
    client.expect_closed();

    let mut keeps = server.client();
    for _ in 0..2 {
        let response = keeps.request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(response.field("connection").as_deref(), Some("keep-alive"));
    }
}

#[test]
fn a_list_a_tuple_a_generator_and_an_empty_body_are_all_bodies() {
    for (returned, expected) in [
        ("[b'a', b'', b'b']", "ab"),
        ("(b'tuple',)", "tuple"),
        ("(part for part in (b'', b'x', b'y'))", "xy"),
        ("[]", ""),
        ("b'ab'.split()", "ab"),
    ] {
        let server = serving(&format!("start_response('200 OK', [])\nreturn {returned}"));
        let mut client: Client = server.client();
        assert_eq!(client.get("/").text(), expected, "{returned}");
        assert_eq!(client.get("/").text(), expected, "{returned}, again");
    }
}

#[test]
fn start_response_takes_its_arguments_by_name_too() {
    let server = serving(
        "
answers = {
    '/last': lambda: start_response('201 Created', [], exc_info=None),
    '/all': lambda: start_response(headers=[('X-A', 'b')], status='201 Created'),
    '/unknown': lambda: start_response('201 Created', [], reason='none'),
    '/twice': lambda: start_response('201 Created', [], status='200 OK'),
    '/missing': lambda: start_response('201 Created', exc_info=None),
}
answers[environ['PATH_INFO']]()
return []
",
    );
    assert_eq!(server.get("/last").status, 201);
    let named = server.get("/all");
    assert_eq!(
        (named.status, named.field("x-a").as_deref()),
        (201, Some("b"))
    );
    for (target, reason) in [
        (
            "/unknown",
            "start_response() has no use for an argument \"reason\"",
        ),
        (
            "/twice",
            "start_response() has no use for an argument \"status\"",
        ),
        (
            "/missing",
            "start_response() lacks the argument \"headers\"",
        ),
    ] {
        assert_eq!(server.get(target).status, 500);
        server.says(reason);
    }
}

#[test]
fn nothing_is_written_behind_the_end_of_a_response() {
    let app = "
class Late:
    def __init__(self, write, body):
        self.write, self.body = write, body
    def __iter__(self):
        return iter(self.body)
    def close(self):
        self.write(b'late')

def application(environ, start_response):
    if environ['PATH_INFO'] == '/':
        start_response('200 OK', [])
        return [b'next']
    return Late(start_response('200 OK', []), [b'one', b'two'])
";
    let server = Setup::plain().app(app).start();
    let mut client = server.client();
    assert_eq!(client.get("/late").text(), "onetwo");
    assert_eq!(client.rest().unwrap(), b"");
    server.says("write was called after the end of the response");
    assert_eq!(server.text("/"), "next");
}

#[test]
fn two_threads_may_write_one_response() {
    let app = "
import threading

def application(environ, start_response):
    write = start_response('200 OK', [])
    def half():
        for _ in range(200):
            write(b'x' * 50_000)
    thread = threading.Thread(target=half)
    thread.start()
    half()
    thread.join()
    return []
";
    let server = Setup::with("threads = 2").app(app).start();
    let mut clients: Vec<Client> = (0..2).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    for client in &mut clients {
        assert_eq!(client.response().body.len(), 20_000_000);
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
