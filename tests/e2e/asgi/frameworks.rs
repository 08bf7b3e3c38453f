//! The frameworks that people run on ASGI, as they come from PyPI.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Server, Setup, eventually};

#[track_caller]
fn start(app: &str) -> Server {
    Setup::with("app = 'app:app'").app(app).start()
}

#[test]
fn starlette_is_served() {
    let server = start(
        r#"
import asyncio, contextlib
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

ended = []

@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"database": "connected"}
    print("disconnected", flush=True)

async def home(request):
    return JSONResponse({"state": request.state.database, "host": request.client.host, "q": request.query_params["q"]})

async def upload(request):
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return PlainTextResponse(str(total), background=BackgroundTask(ended.append, "upload"))

async def stream(request):
    async def pieces():
        try:
            for number in range(1000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)
        finally:
            ended.append("stream")
    return StreamingResponse(pieces(), media_type="text/event-stream")

async def polled(request):
    while not await request.is_disconnected():
        await asyncio.sleep(0.02)
    ended.append("polled")
    return PlainTextResponse("never read")

async def file(request):
    return FileResponse(__file__)

async def what(request):
    return JSONResponse(ended)

class Passing:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def passed(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-passed", b"yes")]
            await send(message)

        await self.app(scope, receive, passed)

routes = [Route("/", home), Route("/upload", upload, methods=["POST"]), Route("/stream", stream), Route("/polled", polled),
          Route("/file", file), Route("/what", what)]
app = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Passing)])
"#,
    );
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
    let ended = |what: &str| server.text("/what").contains(what);
    eventually("the background task ran", || ended("upload"));
    for (target, name) in [("/stream", "stream"), ("/polled", "polled")] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        if name == "stream" {
            client.some().unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(200));
        }
        drop(client);
        eventually(name, || ended(name));
    }
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert!(exit.stdout.contains("disconnected"));
    // A client that went away is no failure of the app.
    assert!(!exit.log.contains("the app failed"), "{}", exit.log);
}

#[test]
fn a_client_that_leaves_an_event_stream_or_a_websocket_is_no_failure_and_what_fails_then_is_told() {
    let server = start(
        r#"
import asyncio
import anyio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

left = 0

async def events(request):
    async def endless():
        global left
        try:
            while True:
                yield "data: tick\n\n"
                await asyncio.sleep(0.01)
        finally:
            left += 1
    return StreamingResponse(endless(), media_type="text/event-stream")

async def ticks(websocket):
    global left
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.01)
    finally:
        left += 1

async def grouped(send, on_the_way_out):
    """As a library that sends in a task group."""
    async def body():
        global left
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            left += 1
            on_the_way_out()

    await send({"type": "http.response.start", "status": 200, "headers": []})
    async with anyio.create_task_group() as group:
        group.start_soon(body)

async def count(request):
    return PlainTextResponse(str(left))

routes = [Route("/events", events), WebSocketRoute("/ticks", ticks), Route("/left", count)]
starlette = Starlette(routes=routes)

async def app(scope, receive, send):
    match scope.get("path"):
        case "/grouped":
            await grouped(send, lambda: None)
        case "/failing":
            await grouped(send, lambda: {}["in the group"])
        case _:
            await starlette(scope, receive, send)
"#,
    );
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
    let server = start(
        r#"
import time
import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()

class Item(BaseModel):
    name: str
    price: float

def dependency():
    yield "dependency"

@app.get("/items/{number}")
async def item(number: int, which: str = Depends(dependency)):
    return {"number": number, "which": which}

@app.post("/items")
async def create(item: Item):
    return item

@app.get("/thread")
def thread():
    time.sleep(0.05)
    return "from a thread"

@app.post("/file")
async def file(file: UploadFile):
    return {"size": len(await file.read())}

@app.get("/group")
async def group():
    found = []
    async def add(number):
        await anyio.sleep(0.01)
        found.append(number)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(add, number)
    return sorted(found)

@app.get("/groups-fail")
async def groups_fail():
    async def fail():
        raise ValueError("in a group")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
"#,
    );
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
    let server = start(
        r#"
import asyncio
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, DEBUG=False)

async def home(request):
    return JsonResponse({"path": request.path, "scheme": request.scheme, "agent": request.headers.get("x-agent")})

def sync(request):
    return HttpResponse(f"sync {len(request.body)}")

async def stream(request):
    async def pieces():
        for number in range(3):
            yield f"{number} "
            await asyncio.sleep(0.01)
    return StreamingHttpResponse(pieces())

def file(request):
    return FileResponse(open(__file__, "rb"))

from django.views.decorators.csrf import csrf_exempt
urlpatterns = [path("", home), path("sync", csrf_exempt(sync)), path("stream", stream), path("file", file)]
app = get_asgi_application()
"#,
    );
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
    let server = start(
        r#"
import asyncio
from quart import Quart, request

app = Quart(__name__)

@app.before_serving
async def startup():
    app.started = True

@app.route("/")
async def home():
    return f"hello {request.args['name']} {app.started}"

@app.post("/echo")
async def echo():
    return await request.get_data()

@app.route("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"{number} ".encode()
            await asyncio.sleep(0.01)
    return pieces(), 200
"#,
    );
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
    let server = start(
        r#"
from litestar import Litestar, get, post
from litestar.response import Stream

@get("/")
async def home(name: str) -> dict[str, str]:
    return {"hello": name}

@get("/sync", sync_to_thread=True)
def sync() -> str:
    return "from a thread"

@post("/echo")
async def echo(data: dict[str, int]) -> dict[str, int]:
    return data

@get("/stream")
async def stream() -> Stream:
    async def pieces():
        for number in range(3):
            yield f"{number} "
    return Stream(pieces())

app = Litestar([home, sync, echo, stream])
"#,
    );
    let mut client = server.client();
    assert_eq!(client.get("/?name=you").text(), r#"{"hello":"you"}"#);
    assert_eq!(client.get("/sync").text(), "from a thread");
    assert_eq!(client.get("/stream").text(), "0 1 2 ");
    let echoed = client.request(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
    );
    assert_eq!(echoed.text(), r#"{"a":1}"#);
}
