//! `log.slow`: which request, for how long, and where its code is, in every worker class.

use crate::harness::{APP, Server, Setup};

const ROUTES: &str = r#"
def wait_for_database():
    time.sleep(1.2)

def route_slow(environ, start_response, query):
    wait_for_database()
    return answer(start_response, environ.get("rgunicorn.request_id"))

def route_native(environ, start_response, query):
    # Native code that holds the interpreter.
    import ctypes
    ctypes.PyDLL(None).sleep(4)
    return answer(start_response, "came back")
"#;

const ASGI: &str = r#"
import asyncio
import time

async def wait_for_database():
    await asyncio.sleep(1.2)

def block():
    time.sleep(3)

async def handle(path):
    if path == "/slow":
        await wait_for_database()
    elif path == "/block":
        block()

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError
    await handle(scope["path"])
    text = b"done"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": text})
"#;

fn setup(config: &str) -> Setup {
    let config = format!("{config}\n[log]\nslow = '300ms'");
    match config.contains("asgi") {
        true => Setup::with(&format!("app = 'app:app'\n{config}")).app(ASGI),
        false => Setup::with(&config).app(&format!("{APP}{ROUTES}")),
    }
}

#[track_caller]
fn ask(server: &Server, target: &str) {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nX-Request-ID: id-{}\r\n\r\n",
        &target[1..]
    );
    assert_eq!(server.client().request(&request).status, 200, "{target}");
}

#[test]
fn a_slow_request_is_told_once_with_the_stack_that_it_has_then() {
    for class in [
        "sync",
        "gthread\"\nthreads = 2\n#\"",
        "gevent",
        "eventlet",
        "asgi",
    ] {
        let server = setup(&format!("worker_class = \"{class}\"")).start();
        server.from_now();
        ask(&server, "/slow");
        let line = server.says("slow: GET /slow");
        assert!(
            line.contains("[WARNING] generation=1 worker=1 request_id=id-slow slow: "),
            "{line}"
        );
        assert!(line.contains("has been with the app for 0."), "{line}");
        server.says("Stack (most recent call last):");
        server.says(", in wait_for_database");
        server.says("sleep(1.2)");
        ask(&server, "/");
        let log = server.log();
        assert_eq!(log.matches("slow: GET /slow").count(), 1, "{class}: {log}");
        assert!(!log.contains("slow: GET / "), "{class}: {log}");
    }
}

#[test]
fn a_request_in_native_code_that_holds_the_interpreter_is_told_with_its_stack_too() {
    for class in ["sync", "gthread\"\nthreads = 2\n#\""] {
        let server = setup(&format!("worker_class = \"{class}\"")).start();
        server.from_now();
        ask(&server, "/native");
        let line = server.says("slow: GET /native");
        assert!(
            line.ends_with("native code holds the interpreter"),
            "{line}"
        );
        server.says("in route_native");
        assert_eq!(server.text("/"), "hello from /", "it did no harm");
    }
}

#[test]
fn code_that_blocks_a_loop_is_told_with_its_stack() {
    for class in ["gevent", "eventlet"] {
        let server = setup(&format!("worker_class = \"{class}\"")).start();
        server.from_now();
        ask(&server, "/native");
        server.says(
            "slow: a call that blocks the loop (in flight: GET /native) has been with the app for",
        );
        server.says("in route_native");
    }
    let server = setup("worker_class = \"asgi\"").start();
    server.from_now();
    ask(&server, "/block");
    server.says(
        "slow: a call that blocks the loop (in flight: GET /block) has been with the app for",
    );
    server.says(", in block");
}

#[test]
fn nothing_is_slow_unless_it_is_said_what_is() {
    let server = Setup::plain().app(&format!("{APP}{ROUTES}")).start();
    server.text("/sleep?s=0.5");
    assert!(!server.log().contains("slow"), "{}", server.log());
}

/// Code whose source a loader will not give, in the one way that `traceback` does not expect.
const UNREADABLE: &str = "
import asyncio, time

class Loader:
    def get_source(self, name):
        raise RuntimeError('no source')

MADE = '''
async def wait_in_a_loop():
    await asyncio.sleep(1.2)

def wait():
    time.sleep(1.2)
'''
made = {'asyncio': asyncio, 'time': time, '__name__': 'made', '__loader__': Loader()}
exec(compile(MADE, 'made.py', 'exec'), made)

def wsgi(environ, start_response):
    made['wait']()
    start_response('200 OK', [])
    return [b'waited']

async def asgi(scope, receive, send):
    assert scope['type'] == 'http'
    await made['wait_in_a_loop']()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'waited'})
";

#[test]
fn a_stack_that_cannot_be_had_ends_nothing() {
    for (class, name) in [
        ("sync", "wsgi"),
        ("gevent", "wsgi"),
        ("eventlet", "wsgi"),
        ("asgi", "asgi"),
    ] {
        let config = format!("app = 'app:{name}'\nworker_class = '{class}'\n[log]\nslow = '300ms'");
        let server = Setup::with(&config).app(UNREADABLE).start();
        assert_eq!(server.text("/"), "waited", "{class}");
        server.says("slow: GET / ");
        server.says("no source");
        assert!(!server.log().contains("worker ends"), "{}", server.log());
    }
}
