//! HTTP/1.1 on a real socket: what the protocol's own tests cannot see.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    corpus::{self, CASES, unescape},
    harness::{Address, Client, DEADLINE, Process, Server, Setup, eventually},
};

/// Each way to call a WSGI app.
const WSGI: [&str; 4] = [
    "",
    "threads = 4",
    "worker_class = 'gevent'",
    "worker_class = 'eventlet'",
];

/// A request with a body announced in this way.
fn post(fields: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n")
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for config in WSGI {
        let server = Server::start(config);
        let mut client = server.client();
        let get = |n: usize| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n");
        let all: String = (0..50).map(get).collect();
        client.send(format!("{all}{}body{}", post("Content-Length: 4"), get(50)));
        for number in 0..50 {
            assert_eq!(client.response().text(), format!("hello from /{number}"));
        }
        assert_eq!(client.response().text(), "body");
        assert_eq!(client.response().text(), "hello from /50");
    }
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let server = Server::start("");
    let mut client = server.client();
    let request = format!(
        "{}3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n",
        post("Transfer-Encoding: chunked")
    );
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "abcde");
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn continue_is_sent_when_the_body_is_waited_for_and_only_then() {
    let server = Server::start("[limits]\nbody = '1KiB'");
    let mut client = server.client();
    client.send(post("Content-Length: 4\r\nExpect: 100-continue"));
    assert_eq!(client.some().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().text(), "body");

    let body_is_there = post("Content-Length: 4\r\nExpect: 100-continue") + "body";
    let response = client.request(&body_is_there);
    assert_eq!(
        (response.text().as_str(), response.interim.len()),
        ("body", 0)
    );

    let too_large = server
        .client()
        .request(&post("Content-Length: 5000\r\nExpect: 100-continue"));
    assert_eq!((too_large.status, too_large.interim.len()), (413, 0));

    let no_body = server
        .client()
        .request(&post("Content-Length: 0\r\nExpect: 100-continue"));
    assert_eq!((no_body.status, no_body.interim.len()), (200, 0));

    let unknown = server
        .client()
        .request(&post("Content-Length: 4\r\nExpect: a-miracle"));
    assert_eq!(unknown.status, 417);
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    for config in WSGI {
        let server = Server::start(config);
        for target in [
            "/",
            "/sleep?s=0.3",
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
}

/// Far longer than a test may take: what depends on it does not come in time.
const FOR_EVER: &str = "[timeouts]\nkeepalive = '1d'\nbody = '1d'";

#[test]
fn the_end_of_what_a_client_sends_is_seen_behind_the_last_request() {
    for class in WSGI {
        let server = Server::start(&format!("{class}\n{FOR_EVER}"));
        let mut client = server.client();
        assert_eq!(client.get("/").status, 200, "from here on it is watched");
        client.send("GET /sleep?s=0.3 HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("it is in the app", || {
            class.is_empty() || server.text("/counter?name=/sleep") == "1"
        });
        // Both come while the app works on the first, in one event or in two.
        client.send("GET /last HTTP/1.1\r\nHost: test\r\n\r\n");
        client.finish_sending();
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().text(), "hello from /last", "{class}");
        client.expect_closed();
    }
}

#[test]
fn the_end_of_what_a_client_sends_is_seen_behind_much_of_a_body() {
    let server = Server::start(FOR_EVER);
    // Around what is received in one turn.
    for kibibytes in [1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 300] {
        let mut client = server.client();
        assert_eq!(client.get("/").status, 200);
        client.send(post("Content-Length: 400000"));
        client.send("x".repeat(kibibytes << 10));
        client.finish_sending();
        let answer = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{kibibytes}: {answer}");
    }
    assert_eq!(server.text("/counter?name=/echo"), "0");
}

#[test]
fn a_body_that_ends_too_early_never_reaches_the_app() {
    let server = Server::start("");
    for request in [
        post("Content-Length: 10") + "abc",
        post("Transfer-Encoding: chunked") + "5\r\nabc",
        post("Transfer-Encoding: chunked") + "3\r\nabc\r\n",
        post("Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n",
    ] {
        let mut client = server.client();
        client.send(&request);
        client.finish_sending();
        let answer = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{request}: {answer}"
        );
    }
    assert_eq!(server.text("/counter?name=/echo"), "0");
}

#[test]
fn after_a_refusal_nothing_more_of_the_connection_is_believed() {
    let server = Server::start("");
    let mut client = server.client();
    let smuggled = "GET /pid HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(format!(
        "{}0\r\n\r\n{smuggled}",
        post("Content-Length: 4\r\nTransfer-Encoding: chunked")
    ));
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(response.says_close());
    client.expect_closed();
    assert_eq!(server.text("/counter?name=/pid"), "0");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start("[limits]\nbody = '1KiB'");
    let mut client = server.client();
    client.send(post("Content-Length: 3000000"));
    client.send("x".repeat(3_000_000));
    assert_eq!(client.response().status, 413);
}

/// Many look for an answer only when all is sent, and see none if sending fails before.
#[test]
fn a_refused_upload_is_let_come_to_its_end() {
    const PIECE: usize = 1 << 20;
    let server = Server::start("[limits]\nbody = '1KiB'");
    let Address::Tcp(address) = server.address() else {
        panic!("a TCP address is expected")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    let head = post(&format!("Content-Length: {}", 12 * PIECE));
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..12 {
        stream.write_all(&[b'x'; PIECE]).unwrap();
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(Client::over(stream).response().status, 413);
}

#[test]
fn an_empty_line_after_a_request_is_no_request() {
    let server = Server::start("");
    for end in ["\r\n", "\r"] {
        let mut client = server.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n\r\n{end}"));
        client.finish_sending();
        assert_eq!(client.response().status, 200);
        client.expect_closed();
    }
    let mut client = server.client();
    for _ in 0..3 {
        client.send("\r\n");
        thread::sleep(Duration::from_millis(20));
        client.get("/");
    }
    // It idles, so another worker can have it.
    client.send("\r\n");
    let worker = Process::find(server.workers()[0]).unwrap();
    server.signal(Signal::SIGHUP);
    eventually("the old worker is gone", || !worker.is_alive());
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn connection_close_is_honoured_and_said() {
    let server = Server::start("");
    for value in ["close", "Close", "x, close"] {
        let mut client = server.client();
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: {value}\r\n\r\n");
        assert!(client.request(&request).says_close(), "{value}");
        client.expect_closed();
    }
}

/// Lines of which each is short enough, and a head that is too large with them.
#[test]
fn a_head_is_bounded_as_a_whole() {
    let server = Server::start("[limits]\nhead = '16KiB'");
    let line = format!("X: {}\r\n", "x".repeat(5_000));
    let head = |lines: usize| format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", line.repeat(lines));
    assert_eq!(server.client().request(&head(3)).status, 200);
    for pieces in [1, 7] {
        let mut client = server.client();
        let text = head(4);
        for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
            client.send(piece);
        }
        let response = client.response();
        assert_eq!(response.status, 431);
        assert!(response.says_close());
        client.expect_closed();
    }
    // It is not waited for what is too much.
    let mut client = server.client();
    client.send(&head(5)[..16 * 1024]);
    assert_eq!(client.response().status, 431);
    server.prints("\"GET / HTTP/1.1\" 200 ");
}

#[test]
fn each_limit_has_its_status() {
    let server = Server::start("[limits]\nrequest_line = 100\nheaders = 5\nheader_size = 100");
    let long = "x".repeat(100);
    let many = "A: b\r\n".repeat(6);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\nA: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"), 431),
        ("GET / HTTP/2.0\r\nHost: test\r\n\r\n".to_owned(), 505),
        (post("Transfer-Encoding: gzip, chunked"), 501),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = server.client();
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status, status, "{request}");
        assert!(response.says_close(), "{request}");
    }
}

#[test]
fn a_tls_hello_to_the_plain_port_is_refused_at_once() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.response().status, 400);
    client.expect_closed();
}

#[test]
fn a_client_that_resets_the_connection_disturbs_nobody() {
    let server = Setup::with("threads = 2").start();
    for _ in 0..50 {
        let mut client = server.client();
        client.send("GET /large?size=3000000 HTTP/1.1\r\nHost: test\r\n\r\nGET /");
        drop(client);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.text("/"), "hello from /");
}

/// Echoes request line and body; counts the calls that got a whole request.
const WSGI_ECHO: &str = "
calls = 0

def application(environ, start_response):
    global calls
    if environ['RAW_URI'] == '/calls-so-far':
        body = b'%d' % calls
    else:
        calls += 1
        line = ' '.join(environ[key] for key in ('REQUEST_METHOD', 'RAW_URI', 'SERVER_PROTOCOL'))
        body = line.encode('latin-1') + b'\\n' + environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

/// The same. The target as it came is in no scope, so it is put together again; bodies come in pieces, and one that is
/// wrong ends in a disconnect.
const ASGI_ECHO: &str = "
calls = 0

async def application(scope, receive, send):
    global calls
    assert scope['type'] == 'http'
    target = scope['raw_path'] + (b'?' + scope['query_string'] if scope['query_string'] else b'')
    if target == b'/calls-so-far':
        body = b'%d' % calls
    else:
        body = b''
        while True:
            message = await receive()
            if message['type'] == 'http.disconnect':
                return
            body += message['body']
            if not message['more_body']:
                break
        calls += 1
        line = b'%s %s HTTP/%s\\n' % (scope['method'].encode(), target, scope['http_version'].encode())
        body = line + body
    headers = [(b'content-length', b'%d' % len(body))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})
";

#[test]
fn every_case_of_the_corpus_is_answered_as_it_says() {
    for class in WSGI {
        try_the_corpus(class, WSGI_ECHO, |line| line.to_owned());
    }
}

#[test]
fn every_case_of_the_corpus_is_answered_as_it_says_by_an_asgi_app() {
    try_the_corpus("", ASGI_ECHO, as_scopes_tell_it);
}

/// A request line whose target is reduced to path and query.
fn as_scopes_tell_it(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some((_, rest)) = words[1].split_once("://") {
        words[1] = match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => rest[at..].to_owned(),
            Some(at) => format!("/{}", &rest[at..]),
            None => "/".to_owned(),
        };
    }
    if words[1].ends_with('?') {
        words[1].pop();
    }
    words.join(" ")
}

/// The app counts its calls and answers with the request line and the body.
#[track_caller]
fn try_the_corpus(class: &str, app: &str, line: impl Fn(&str) -> String) {
    let limits = "[limits]\nrequest_line = 4094\nheaders = 100\nheader_size = 8190\nbody = '1MiB'";
    let config = format!("{class}\n{limits}");
    let server = Setup::with(&config).app(app).start();
    let calls = || server.text("/calls-so-far").parse::<usize>().unwrap();
    for case in CASES.iter() {
        let (name, answers) = (case.name(), Answers::to(case));
        let before = calls();
        let mut client = server.client();
        client.send(&case.input);
        client.finish_sending();
        for request in &answers.requests {
            let response = client.try_response(request.method());
            let response = response.unwrap_or_else(|error| panic!("{}: {error}", name));
            assert_eq!(response.status, 200, "{}", name);
            if request.method() != "HEAD" {
                assert!(
                    response.body == request.echo(&line),
                    "{}: {}",
                    name,
                    response.text()
                );
            }
        }
        if let Some(status) = answers.refused {
            let response = client.try_response("GET");
            let response = response.unwrap_or_else(|error| panic!("{}: {error}", name));
            assert_eq!(response.status, status, "{}", name);
            assert!(response.says_close(), "{}", name);
        }
        let rest = String::from_utf8_lossy(&client.rest_until_closed()).into_owned();
        assert!(
            rest.is_empty() || answers.is_truncated && rest.starts_with("HTTP/1.1 4"),
            "{}: {rest}",
            name
        );
        assert_eq!(
            calls(),
            before + answers.requests.len(),
            "calls of the app: {}",
            name
        );
    }
}

/// What must come of a case of `tests/http/`, whose README explains the notation.
#[derive(Default)]
struct Answers {
    requests: Vec<Request>,
    refused: Option<u16>,
    is_truncated: bool,
}

#[derive(Default)]
struct Request {
    line: String,
    body: String,
}

impl Request {
    fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// What the app answers.
    fn echo(&self, line: impl Fn(&str) -> String) -> Vec<u8> {
        [
            unescape(&line(&self.line)),
            b"\n".to_vec(),
            unescape(&self.body),
        ]
        .concat()
    }
}

impl Answers {
    fn to(case: &corpus::Case) -> Self {
        let mut answers = Self::default();
        for line in case.expected.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "request" => answers.requests.push(Request {
                    line: rest.to_owned(),
                    body: String::new(),
                }),
                "body" => answers.requests.last_mut().unwrap().body = rest.to_owned(),
                "refused" => {
                    answers.refused = rest.split(' ').next().unwrap().parse().ok();
                    assert!(answers.refused.is_some(), "{line}");
                }
                "truncated" => answers.is_truncated = true,
                _ => {}
            }
        }
        answers
    }
}
