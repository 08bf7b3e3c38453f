//! What the access log says of answers that the server gives itself.

use crate::harness::{APP, Server, Setup};

const FAILS: &str = r#"
def route_slow(environ, start_response, query):
    while True:
        time.sleep(0.01)

def route_swallow(environ, start_response, query):
    try:
        route_slow(environ, start_response, query)
    except BaseException:
        return answer(start_response, "too late")
"#;

const FAILS_ASGI: &str = r#"
import asyncio

async def app(scope, receive, send):
    if scope["path"] == "/error":
        raise ValueError("on purpose")
    if scope["path"] == "/body":
        await receive()
        await receive()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await send({"type": "http.response.start", "status": 200, "headers": []})
"#;

const FORMAT: &str = "%(s)s %(m)s %(U)s %(q)s %(B)s %(b)s %({content-type}o)s %(r)s %(D)s";

/// A server that waits a second for each part of a request, and longer for the app.
fn start(class: &str) -> Server {
    let (app, name) = match class {
        "asgi" => (FAILS_ASGI.to_owned(), "app:app"),
        _ => (format!("{APP}{FAILS}"), "app"),
    };
    let config = format!(
        "app = '{name}'\nworker_class = '{class}'\n[limits]\nbody = 1000\n\
         [timeouts]\nheader = 1\nbody = 1\nrequest = 2\n[log]\nformat = '{FORMAT}'"
    );
    Setup::with(&config).app(&app).start()
}

/// Sends a request of which the server knows no end, and returns how many bytes of body its answer has: it closes then.
#[track_caller]
fn body_bytes(server: &Server, request: &str) -> usize {
    let mut client = server.client();
    client.send(request);
    let answer = String::from_utf8(client.rest().unwrap()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let is_head = request.starts_with("HEAD ");
    assert_eq!(body.is_empty(), is_head, "{head}\n\n{body}");
    body.len()
}

#[test]
fn a_line_says_what_was_sent_and_how_long_it_took() {
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    let cases = [
        (400, "GET /malformed?q", "No colon\r\n\r\n", false),
        (400, "HEAD /malformed?q", "No colon\r\n\r\n", false),
        (431, "GET /long?q", &long, false),
        (413, "POST /large?q", "Content-Length: 1001\r\n\r\n", false),
        (408, "GET /head?q", "Ho", true),
        (408, "POST /body?q", "Content-Length: 2\r\n\r\nx", true),
        (408, "HEAD /body?q", "Content-Length: 2\r\n\r\nx", true),
        (500, "GET /error?q", "\r\n", false),
        (500, "HEAD /error?q", "\r\n", false),
        (504, "GET /slow?q", "\r\n", true),
        (504, "HEAD /slow?q", "\r\n", true),
        (504, "GET /swallow?q", "\r\n", true),
    ];
    let ask_all = |class| {
        let server = start(class);
        for (status, begins, rest, lasts) in cases {
            let line = format!("{begins} HTTP/1.1");
            let sent = body_bytes(&server, &format!("{line}\r\nHost: test\r\n{rest}"));
            let (method, target) = begins.split_once(' ').unwrap();
            let path = target.trim_end_matches("?q");
            let size = match sent {
                0 => "0 -".to_owned(),
                sent => format!("{sent} {sent}"),
            };
            let printed = server.prints(&format!("{status} {method} {path} q {size} "));
            let (rest, microseconds) = printed.rsplit_once(' ').unwrap();
            assert!(rest.ends_with(&format!(" {line}")), "{class}: {printed}");
            let microseconds: u64 = microseconds.parse().unwrap();
            assert_eq!(microseconds >= 900_000, lasts, "{class}: {printed}");
            // Of an answer that another thread gave, no head is kept.
            let kind = "text/plain; charset=utf-8";
            assert!(
                status == 504 || printed.contains(kind),
                "{class}: {printed}"
            );
        }
    };
    std::thread::scope(|scope| {
        for class in ["sync", "gthread", "gevent", "asgi"] {
            scope.spawn(move || ask_all(class));
        }
    });
}

#[test]
fn so_does_the_object_of_the_json_form() {
    let server = Server::start("[log]\nformat = 'json'");
    let sent = body_bytes(&server, "GET /x?q HTTP/1.1\r\n\r\n");
    let object: serde_json::Value = serde_json::from_str(&server.prints("400")).unwrap();
    assert_eq!(object["bytes"], sent);
    assert_eq!(
        (&object["method"], &object["path"], &object["query"]),
        (&"GET".into(), &"/x".into(), &"q".into())
    );
}

#[test]
fn so_does_that_of_a_handshake_that_is_rejected() {
    let server = start("asgi");
    for method in ["GET", "HEAD"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        let sent = body_bytes(&server, &request);
        server.prints(&format!("400 {method} /  {sent} "));
    }
}
