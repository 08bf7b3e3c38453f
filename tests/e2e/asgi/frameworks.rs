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
