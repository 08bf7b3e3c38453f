//! The frameworks that people run on ASGI, as they come from PyPI.

use nix::sys::signal::Signal;

use crate::harness::{Server, Setup, eventually};

#[track_caller]
fn start(app: &str) -> Server {
    Setup::with("app = 'app:app'").app(app).start()
}

#[test]
fn starlette_is_served() {
    let server = start(include_str!("../apps/starlette_site.py"));
    let mut client = server.client();
    let home = client.get("/?q=1");
    assert_eq!(home.json()["state"], "connected");
    assert_eq!(home.json()["host"], "127.0.0.1");
    assert_eq!(home.field("x-passed").as_deref(), Some("yes"));
    assert_eq!(
        client.post("/upload", vec![b'x'; 3_000_000]).text(),
        "3000000"
    );
    assert!(client.get("/file").text().contains("class Passing"));
    let has_seen = |what: &str| server.text("/what").contains(what);
    eventually("the background task ran", || has_seen("upload"));
    for (target, name) in [("/stream", "stream"), ("/polled", "polled")] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        if name == "stream" {
            client.some().unwrap();
        } else {
            eventually("it polls", || has_seen("poll begun"));
        }
        drop(client);
        eventually(name, || has_seen(name));
    }
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert!(exit.stdout.contains("disconnected"));
    // A client that went away is no failure of the app.
    assert!(!exit.log.contains("the app failed"), "{}", exit.log);
}

#[test]
fn a_client_that_leaves_an_event_stream_or_a_websocket_is_no_failure_and_what_fails_then_is_told() {
    let server = start(include_str!("../apps/starlette_streams.py"));
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let gone = [
        ("/events", ""),
        ("/ticks", websocket),
        ("/grouped", ""),
        ("/failing", ""),
    ];
    for (count, (target, fields)) in gone.into_iter().enumerate() {
        let mut client = server.client();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
        ));
        client.some().unwrap();
        drop(client);
        eventually(target, || server.text("/left") == (count + 1).to_string());
    }
    server.says("KeyError: 'in the group'");
    assert_eq!(server.log().matches("the app failed on").count(), 1);
}

#[test]
fn a_stream_that_has_nothing_to_say_ends_when_its_client_leaves() {
    let server = start(
        r#"
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

left = 0

async def quiet(request):
    async def pieces():
        global left
        try:
            yield "subscribed"
            await asyncio.sleep(3600)
        finally:
            left += 1
    return StreamingResponse(pieces(), media_type="text/event-stream")

async def count(request):
    return PlainTextResponse(str(left))

app = Starlette(routes=[Route("/", quiet), Route("/left", count)])
"#,
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.some().unwrap();
    assert_eq!(server.text("/left"), "0");
    drop(client);
    eventually("the stream ended", || server.text("/left") == "1");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert!(!exit.log.contains("the app failed"), "{}", exit.log);
}

#[test]
fn fastapi_is_served() {
    let server = start(include_str!("../apps/fastapi_site.py"));
    let mut client = server.client();
    assert_eq!(
        client.get("/items/7").text(),
        r#"{"number":7,"which":"dependency"}"#
    );
    assert_eq!(client.get("/items/x").status, 422);
    let created = client.request(
        "POST /items HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"name\": \"a\", \"price\": 1.5}",
    );
    assert_eq!(created.text(), r#"{"name":"a","price":1.5}"#);
    assert_eq!(client.get("/thread").text(), "\"from a thread\"");
    assert_eq!(client.get("/group").text(), "[0,1,2]");
    let failed = server.get("/groups-fail");
    assert_eq!(failed.status, 500);
    server.says("ValueError: in a group");
    assert!(client.get("/openapi.json").text().contains("/items"));
}

#[test]
fn requests_of_fastapi_and_starlette_share_a_pool_of_threads() {
    let app = r#"
import threading
import fastapi
import starlette.applications
from starlette.responses import PlainTextResponse
from starlette.routing import Route

inner = fastapi.FastAPI()

@inner.get("/")
def in_a_mounted_app():
    return threading.get_native_id()

def of_starlette(request):
    return PlainTextResponse(str(threading.get_native_id()))

app = fastapi.FastAPI()
app.mount("/mounted", inner)
app.mount("/starlette", starlette.applications.Starlette(routes=[Route("/", of_starlette)]))

@app.get("/")
def plain():
    return threading.get_native_id()

@app.get("/cancel-all")
async def cancel_all():
    import asyncio
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    return "cancelled"
"#;
    for event_loop in ["asyncio", "uvloop"] {
        let config = format!("app = 'app:app'\nloop = '{event_loop}'");
        let server = Setup::with(&config).app(app).start();
        let first = server.text("/");
        for path in ["/", "/", "/mounted/", "/starlette/", "/"] {
            assert_eq!(server.text(path), first, "{path} on {event_loop}");
        }
        // The task that the pool belongs to is the server's: nobody ends it.
        assert_eq!(server.text("/cancel-all"), "\"cancelled\"");
        assert_eq!(server.text("/"), first, "{event_loop}");
        server.signal(Signal::SIGTERM);
        let exit = server.ended();
        assert_eq!(exit.code, Some(0), "{}", exit.log);
        assert!(!exit.log.contains("CRITICAL"), "{}", exit.log);
    }
}

#[test]
fn django_is_served() {
    let server = start(include_str!("../apps/django_site.py"));
    server.says("the app has no lifespan");
    let mut client = server.client();
    let home = client
        .request("GET / HTTP/1.1\r\nHost: test\r\nX-Agent: me\r\n\r\n")
        .json();
    assert_eq!(home["agent"], "me");
    assert_eq!(client.post("/sync", "12345").text(), "sync 5");
    assert_eq!(client.get("/stream").text(), "0 1 2 ");
    assert!(client.get("/file").text().contains("ROOT_URLCONF"));
    assert_eq!(client.get("/nowhere").status, 404);
    let mut half_closed = server.client();
    half_closed.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
    half_closed.finish_sending();
    assert_eq!(half_closed.response().text(), "0 1 2 ");
}

#[test]
fn quart_is_served() {
    let server = start(include_str!("../apps/quart_site.py"));
    let mut client = server.client();
    assert_eq!(client.get("/?name=you").text(), "hello you True");
    assert_eq!(
        client.post("/echo", vec![b'x'; 1_000_000]).body.len(),
        1_000_000
    );
    assert_eq!(client.get("/stream").text(), "0 1 2 ");
}

#[test]
fn litestar_is_served() {
    let server = start(include_str!("../apps/litestar_site.py"));
    let mut client = server.client();
    assert_eq!(client.get("/?name=you").text(), r#"{"hello":"you"}"#);
    assert_eq!(client.get("/sync").text(), "from a thread");
    assert_eq!(client.get("/stream").text(), "0 1 2 ");
    let echoed = client.request(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
    );
    assert_eq!(echoed.text(), r#"{"a":1}"#);
}

const FILES: &str = r#"
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

routes = [
    Route("/file", lambda request: FileResponse(__file__)),
    Route("/offered", lambda request: PlainTextResponse("pathsend" in str(request.scope["extensions"]) and "yes" or "no")),
]
routes.append(Mount("/static", StaticFiles(directory=".")))

async def reads(request, call_next):
    response = await call_next(request)
    body = b"".join([part async for part in response.body_iterator])
    return Response(body, response.status_code, {"x-read": str(len(body))})

class Knowing:
    """Passes on what it knows, as brotli-asgi does."""
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def known(message):
            if message["type"] in ("http.response.start", "http.response.body"):
                await send(message)

        await self.app(scope, receive, known if scope["type"] == "http" else send)

def behind(cls, **options):
    return Starlette(routes=routes, middleware=[Middleware(cls, **options)])

plain = behind(CORSMiddleware, allow_origins=["*"])
compressing = behind(GZipMiddleware)
mounted = Starlette(routes=[Mount("/", compressing)])
reading = behind(BaseHTTPMiddleware, dispatch=reads)
knowing = behind(Knowing)
around = Knowing(plain)

async def function(scope, receive, send):
    await around(scope, receive, send)
"#;

#[test]
fn middleware_that_wants_to_see_bodies_sees_those_of_files() {
    let server = Setup::with("app = 'app:plain'\nlog.access = 'off'")
        .app(FILES)
        .start();
    assert_eq!(server.text("/offered"), "yes");
    assert!(server.text("/file").contains("class Knowing"));
    for app in [
        "compressing",
        "mounted",
        "reading",
        "knowing",
        "around",
        "function",
    ] {
        server.edit(&format!("app = 'app:{app}'\nlog.access = 'off'"));
        server.applied();
        let mut client = server.client();
        let get = |target: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n")
        };
        for target in ["/file", "/static/app.py"] {
            let answer = client.request(&get(target));
            assert_eq!(answer.status, 200, "{app} {target}");
            match app {
                "compressing" | "mounted" => {
                    assert_eq!(answer.field("content-encoding").as_deref(), Some("gzip"));
                }
                "reading" => assert_eq!(
                    answer.field("x-read"),
                    Some(FILES.len().to_string()),
                    "{target}"
                ),
                _ => assert_eq!(answer.text(), FILES, "{app} {target}"),
            }
        }
    }
}

#[test]
fn an_exception_that_a_framework_answers_is_told_with_its_request() {
    let server = start(
        r#"
from starlette.applications import Starlette
from starlette.routing import Route

async def fails(request):
    raise RuntimeError("no database")

app = Starlette(routes=[Route("/fails", fails)])
"#,
    );
    assert_eq!(server.get("/fails?really").status, 500);
    server.says("the app failed on GET /fails");
}
