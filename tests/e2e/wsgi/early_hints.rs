//! `wsgi.early_hints`: what an app says of its answer before it has one.

use super::serving;
use crate::harness::Setup;

#[test]
fn early_hints_are_sent_at_once_and_not_to_http_1_0() {
    let server = serving(
        "
hint = environ['wsgi.early_hints']
hint([('Link', '</style.css>; rel=preload')])
start_response('200 OK', [('Content-Length', '2')])
return [b'ok']
",
    );
    let response = server.get("/");
    assert_eq!(
        response.interim,
        ["HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload"]
    );
    let old = server.client().request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.text().as_str(), old.interim.len()), ("ok", 0));
}

/// What it is given to say speaks for one request and for no other, which may be another client's.
#[test]
fn what_an_app_keeps_for_early_hints_says_nothing_later() {
    let app = "
kept = []

def application(environ, start_response):
    hint = environ['wsgi.early_hints']
    if environ['PATH_INFO'] == '/keep':
        kept.append(hint)
    for late in kept if environ['PATH_INFO'] == '/late' else []:
        late([('Link', '</of-another>')])
    if environ['PATH_INFO'] == '/own':
        hint([('Link', '</own>')])
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";
    for class in ["sync", "gevent"] {
        let server = Setup::with(&format!("worker_class = '{class}'"))
            .app(app)
            .start();
        let mut client = server.client();
        for _ in 0..3 {
            client.get("/keep");
            assert_eq!(client.get("/late").interim.len(), 0, "{class}");
            assert_eq!(client.get("/own").interim.len(), 1, "{class}");
        }
    }
}

#[test]
fn early_hints_are_not_sent_after_an_answer_in_the_apps_place() {
    let app = "
import time

def application(environ, start_response):
    hint = environ['wsgi.early_hints']
    if environ['PATH_INFO'] == '/first':
        hint([('Link', '</first>')])
    begun = time.monotonic()
    while time.monotonic() < begun + 1:
        try:
            time.sleep(0.02)
        except BaseException:
            pass
    hint([('Link', '</late>')])
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";
    let server = Setup::with("[timeouts]\nrequest = '300ms'")
        .app(app)
        .start();
    for (target, hints) in [("/", 0), ("/first", 1)] {
        let mut client = server.client();
        let answered = client.get(target);
        assert_eq!((answered.status, answered.interim.len()), (504, hints));
        assert_eq!(client.rest().unwrap(), b"", "{target}");
    }
}
