//! Ids of requests: taken from whom one may believe, made for the others, shown to the app, the client and the logs.

use crate::harness::{APP, Server, Setup};

const ASGI: &str = include_str!("../apps/asgi.py");

const SHOW: &str = r#"
def route_id(environ, start_response, query):
    return answer(start_response, environ.get("rgunicorn.request_id", "(none)"))

def route_own(environ, start_response, query):
    return answer(start_response, "", "200 OK", ("X-Request-Id", "the app's"))

def route_seen(environ, start_response, query):
    return answer(start_response, environ.get("HTTP_X_REQUEST_ID", "(none)"))
"#;

const SHOW_ASGI: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "http":
        text = scope.get("rgunicorn.request_id", "(none)").encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(text)).encode())]})
        await send({"type": "http.response.body", "body": text})
"#;

/// A server that shows the id that the app got, of each worker class.
fn servers(config: &str) -> Vec<(&'static str, Server)> {
    let classes = ["sync", "gthread", "gevent", "eventlet", "asgi"];
    let start = |class| {
        let (app, name) = match class {
            "asgi" => (SHOW_ASGI.to_owned(), "app:app"),
            _ => (format!("{APP}{SHOW}"), "app"),
        };
        let config = format!("app = '{name}'\nworker_class = '{class}'\n{config}");
        (class, Setup::with(&config).app(&app).start())
    };
    classes.map(start).into()
}

fn ask(server: &Server, target: &str, headers: &str) -> crate::harness::Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    server.client().request(&request)
}

fn is_made(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
}

#[test]
fn an_id_is_taken_from_a_trusted_peer_if_it_is_sane_and_made_else() {
    for (class, server) in servers("[log]\nrequest_id = true") {
        let id = |headers: &str| ask(&server, "/id", headers).text();
        assert_eq!(
            id("X-Request-ID: Root=1-a/b.c\r\n"),
            "Root=1-a/b.c",
            "{class}"
        );
        assert_eq!(id("x-request-id: 7\r\n"), "7", "{class}");
        let long = "a".repeat(129);
        let strange = [
            "X-Request-ID: a b\r\n".to_owned(),
            "X-Request-ID: a\"},{\"\r\n".to_owned(),
            "X-Request-ID: \x1b[2J\r\n".replace('\x1b', "\t"),
            "X-Request-ID: caf\u{e9}\r\n".to_owned(),
            "X-Request-ID:\r\n".to_owned(),
            "X-Request-ID: 1\r\nX-Request-ID: 2\r\n".to_owned(),
            format!("X-Request-ID: {long}\r\n"),
            String::new(),
        ];
        let mut made: Vec<String> = strange.iter().map(|headers| id(headers)).collect();
        assert!(made.iter().all(|id| is_made(id)), "{class}: {made:?}");
        made.sort();
        made.dedup();
        assert_eq!(made.len(), strange.len(), "{class}: not unique");
    }
}

#[test]
fn a_stranger_gets_an_id_of_our_own_and_the_app_sees_what_he_sent() {
    let config = "[proxy]\nforwarded_allow_ips = '10.0.0.1'\n[log]\nrequest_id = true";
    let server = Setup::with(config).app(&format!("{APP}{SHOW}")).start();
    assert!(is_made(
        &ask(&server, "/id", "X-Request-ID: forged\r\n").text()
    ));
    assert_eq!(
        ask(&server, "/seen", "X-Request-ID: forged\r\n").text(),
        "forged"
    );
}

#[test]
fn another_header_can_bring_the_id_or_none() {
    let config = "[log]\nrequest_id = true\nrequest_id_header = 'X-Correlation-ID'\nrequest_id_response = true";
    let server = Setup::with(config).app(&format!("{APP}{SHOW}")).start();
    let response = ask(
        &server,
        "/id",
        "X-Correlation-ID: c-1\r\nX-Request-ID: r-1\r\n",
    );
    assert_eq!(response.field("X-Correlation-ID").as_deref(), Some("c-1"));
    assert_eq!(response.text(), "c-1");
    let config = "[log]\nrequest_id = true\nrequest_id_header = ''\nrequest_id_response = true";
    let server = Setup::with(config).app(&format!("{APP}{SHOW}")).start();
    let response = ask(&server, "/id", "X-Request-ID: r-1\r\n");
    assert_eq!(response.field("X-Request-ID").unwrap(), response.text());
    assert!(is_made(&response.text()));
}

#[test]
fn the_response_says_the_id_on_request_unless_the_app_says_one() {
    for (class, server) in servers("[log]\nrequest_id_response = true") {
        let response = ask(&server, "/id", "");
        let id = response
            .field("X-Request-ID")
            .unwrap_or_else(|| panic!("{class}"));
        assert_eq!(id, response.text(), "{class}");
        if class != "asgi" {
            let own = ask(&server, "/own", "");
            assert_eq!(
                own.field("X-Request-ID").as_deref(),
                Some("the app's"),
                "{class}"
            );
            assert_eq!(own.fields("X-Request-ID").len(), 1, "{class}");
        }
    }
    for (class, server) in servers("") {
        let response = ask(&server, "/id", "X-Request-ID: 7\r\n");
        assert_eq!(response.field("X-Request-ID"), None, "{class}");
        assert_eq!(response.text(), "(none)", "{class}: nobody asked for it");
    }
}

const FAILS: &str = r#"
def route_silent(environ, start_response, query):
    return [b"no start_response"]

def route_slow(environ, start_response, query):
    while True:
        time.sleep(0.01)
"#;

const FAILS_ASGI: &str = r#"
import asyncio

async def app(scope, receive, send):
    if scope["path"] == "/slow":
        await asyncio.sleep(60)
    if scope["path"] == "/error":
        raise ValueError("on purpose")
    if scope["path"] == "/deny":
        await send({"type": "websocket.close"})
    if scope["path"] == "/accept":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
"#;

/// As [`servers`], with an app that fails.
fn failing(config: &str) -> Vec<(&'static str, Server)> {
    let classes = ["sync", "gthread", "gevent", "asgi"];
    let start = |class| {
        let (app, name) = match class {
            "asgi" => (FAILS_ASGI.to_owned(), "app:app"),
            _ => (format!("{APP}{FAILS}"), "app"),
        };
        let config = format!("app = '{name}'\nworker_class = '{class}'\n{config}");
        (class, Setup::with(&config).app(&app).start())
    };
    classes.map(start).into()
}

#[test]
fn what_the_server_answers_in_the_apps_place_says_the_id_too() {
    let config = "[timeouts]\nrequest = '500ms'\n[log]\nrequest_id_response = true\nformat = '%(U)s %(s)s %(request_id)s'";
    for (class, server) in failing(config) {
        for (path, status) in [("/error", 500), ("/silent", 500), ("/slow", 504)] {
            let id = format!("id-{}", &path[1..]);
            let response = ask(&server, path, &format!("X-Request-ID: {id}\r\n"));
            assert_eq!(response.status, status, "{class} {path}");
            let said = response.field("X-Request-ID");
            assert_eq!(said.as_deref(), Some(id.as_str()), "{class} {path}");
            assert_eq!(
                server.prints(path),
                format!("{path} {status} {id}"),
                "{class}"
            );
            server.says(&format!("request_id={id} "));
        }
        let request = "HEAD /error HTTP/1.1\r\nHost: test\r\nX-Request-ID: id-h\r\n\r\n";
        let mut client = server.client();
        client.send(request);
        let head = client.try_response("HEAD").unwrap();
        assert_eq!(
            head.field("X-Request-ID").as_deref(),
            Some("id-h"),
            "{class}"
        );
    }
}

#[test]
fn so_do_the_answers_to_a_websocket() {
    let config = "app = 'app:app'\n[log]\nrequest_id_response = true";
    let server = Setup::with(config).app(FAILS_ASGI).start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, version, status) in [
        ("/accept", 13, 101),
        ("/error", 13, 500),
        ("/deny", 13, 403),
        ("/accept", 12, 426),
    ] {
        let mut client = server.client();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\n{upgrade}Sec-WebSocket-Version: {version}\r\nX-Request-ID: w-1\r\n\r\n"
        ));
        let answer = String::from_utf8(client.some().unwrap()).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {answer}"
        );
        assert!(
            answer.contains("\r\nX-Request-ID: w-1\r\n"),
            "{target}: {answer}"
        );
    }
}

#[test]
fn the_logs_show_the_id_that_the_app_got() {
    for (class, server) in servers("[log]\nformat = 'json'") {
        let id = ask(&server, "/id", "").text();
        let line = server.prints("/id");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["request_id"], *id, "{class}");
        assert!(is_made(&id), "{class}");
    }
    for (class, server) in servers("[log]\nformat = '%(U)s %(request_id)s'") {
        ask(&server, "/id", "X-Request-ID: a/7\r\n");
        assert_eq!(server.prints("/id"), "/id a/7", "{class}");
    }
    let server = Server::start("[log]\nrequest_id = true");
    ask(&server, "/error", "X-Request-ID: e-1\r\n");
    server.says("request_id=e-1 the app failed on GET /error");
    let config = "app = 'app:app'\n[log]\nrequest_id = true";
    let server = Setup::with(config).app(ASGI).start();
    ask(&server, "/error", "X-Request-ID: e-2\r\n");
    server.says("request_id=e-2 the app failed on GET /error");
}

#[test]
fn ids_of_several_workers_do_not_meet() {
    let config = "workers = 3\npreload = true\n[log]\nrequest_id = true";
    let server = Setup::with(config).app(&format!("{APP}{SHOW}")).start();
    let mut clients: Vec<_> = (0..30).map(|_| server.client()).collect();
    let mut ids: Vec<String> = clients
        .iter_mut()
        .map(|client| client.get("/id").text())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
}

#[test]
fn what_is_excluded_is_not_in_the_access_log_unless_it_failed() {
    let config = "[log]\nformat = '%(U)s %(s)s'\nexclude = ['/healthz', '/static/*', '/err*']";
    for class in ["sync", "gevent"] {
        let server = Server::start(&format!("worker_class = '{class}'\n{config}"));
        for target in [
            "/healthz",
            "/healthz?x=1",
            "/static/a/b",
            "/error",
            "/healthz/",
            "/last",
        ] {
            server.get(target);
        }
        server.prints("/last");
        assert_eq!(
            server.printed(),
            "/error 500\n/healthz/ 200\n/last 200",
            "{class}"
        );
    }
}
