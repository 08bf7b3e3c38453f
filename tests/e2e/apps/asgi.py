"""The app of the ASGI tests: a route for each thing an app can do, on the standard library alone."""

import asyncio
import contextvars
import json
import os
import resource
from urllib.parse import parse_qsl

counters = {}
seen = contextvars.ContextVar("seen", default="nobody")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    path = scope["path"]
    counters[path] = counters.get(path, 0) + 1
    query = dict(parse_qsl(scope["query_string"].decode()))
    route = globals().get("route_" + path.strip("/").replace("-", "_"))
    if route is None:
        return await answer(send, f"hello from {path}")
    if "begun" in query:
        # A test waits for the file before it goes on.
        open(query["begun"], "w").close()
    await route(scope, receive, send, query)


async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["made"] = "at startup"
    print("startup", flush=True)
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("shutdown", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send, body, status=200, headers=()):
    body = body.encode() if isinstance(body, str) else body
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]})
    await send({"type": "http.response.body", "body": body})


async def route_pid(scope, receive, send, query):
    await answer(send, str(os.getpid()))


async def route_scope(scope, receive, send, query):
    def plain(value):
        if isinstance(value, bytes):
            return value.decode("latin-1")
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value

    scope["state"]["mine"] = "of this request"
    await answer(send, json.dumps(plain(scope)))


async def route_echo(scope, receive, send, query):
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            counters["cut"] = counters.get("cut", 0) + 1
            return
        parts.append(message["body"])
        if not message["more_body"]:
            break
    counters["complete"] = counters.get("complete", 0) + 1
    await answer(send, b"".join(parts))


async def route_count(scope, receive, send, query):
    """Counts a body without keeping it; says how much memory this process has ever used."""
    total = 0
    while True:
        message = await receive()
        total += len(message["body"])
        if not message["more_body"]:
            break
    await answer(send, json.dumps({"bytes": total, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


async def route_unread(scope, receive, send, query):
    await answer(send, "did not look")


async def route_late_read(scope, receive, send, query):
    await asyncio.sleep(float(query["s"]))
    await route_echo(scope, receive, send, query)


async def route_counter(scope, receive, send, query):
    await answer(send, str(counters.get(query["name"], 0)))


async def route_sleep(scope, receive, send, query):
    try:
        await asyncio.sleep(float(query["s"]))
    except asyncio.CancelledError:
        counters["cancelled"] = counters.get("cancelled", 0) + 1
        raise
    await answer(send, "slept")


async def route_block(scope, receive, send, query):
    import time

    time.sleep(float(query["s"]))
    await answer(send, "blocked")


async def route_stream(scope, receive, send, query):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(int(query.get("n", 3))):
        await send({"type": "http.response.body", "body": b"chunk %d\n" % number, "more_body": True})
        await asyncio.sleep(float(query.get("pause", 0)))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def route_events(scope, receive, send, query):
    """Server-sent events until the client goes; counts how it learned of that."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(receive_disconnect(receive))
    number = 0
    try:
        while not gone.done():
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            number += 1
            await asyncio.wait({gone}, timeout=0.05)
        counters["told"] = counters.get("told", 0) + 1
    except OSError:
        counters["raised"] = counters.get("raised", 0) + 1
    finally:
        gone.cancel()


async def receive_disconnect(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def route_wait_for_disconnect(scope, receive, send, query):
    await receive_disconnect(receive)
    counters["gone"] = counters.get("gone", 0) + 1
    try:
        await answer(send, "too late")
    except OSError:
        counters["raised"] = counters.get("raised", 0) + 1


async def route_flood(scope, receive, send, query):
    """Sends so many bytes; counts how many were taken."""
    size, piece = int(query["size"]), b"x" * 65536
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    counters["taken"] = 0
    while counters["taken"] < size:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        counters["taken"] += len(piece)
    await send({"type": "http.response.body", "body": b""})


async def route_rss(scope, receive, send, query):
    await answer(send, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


async def route_large(scope, receive, send, query):
    await answer(send, b"x" * int(query["size"]))


async def route_file(scope, receive, send, query):
    assert "http.response.pathsend" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.pathsend", "path": query["path"]})


async def route_hints(scope, receive, send, query):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await answer(send, "hinted")


async def route_debug(scope, receive, send, query):
    """Sends what only test clients understand."""
    await send({"type": "http.response.debug", "info": {"template": "a.html"}})
    await answer(send, "taken")


async def route_lengths(scope, receive, send, query):
    """Says one Content-Length and sends another, in one or two pieces."""
    headers = [(b"content-length", query["said"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = b"x" * int(query["sent"])
    if "pieces" in query:
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        body = body[1:]
    await send({"type": "http.response.body", "body": body})


async def route_bad_header(scope, receive, send, query):
    await answer(send, "never", headers=[(b"x-a", b"b\r\nx-c: d")])


async def route_nothing(scope, receive, send, query):
    pass


async def route_unfinished(scope, receive, send, query):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})


async def route_error(scope, receive, send, query):
    if "late" in query:
        await route_unfinished(scope, receive, send, query)
    raise RuntimeError("the app is broken on purpose")


async def route_twice(scope, receive, send, query):
    await answer(send, "once")
    try:
        await answer(send, "twice")
    except RuntimeError:
        counters["refused"] = counters.get("refused", 0) + 1


kept = {}


async def route_keep(scope, receive, send, query):
    """Keeps what a request is given, one thing at a time, for when it is over."""
    kept[query["what"]] = {"send": lambda: send, "receive": lambda: receive, "awaitable": receive}[query["what"]]()
    await answer(send, "kept")


async def route_use_kept(scope, receive, send, query):
    try:
        await kept["send"]({"type": "http.response.start", "status": 500, "headers": []})
    except RuntimeError:
        refused = "refused"
    messages = await kept["receive"](), await kept["awaitable"]
    await answer(send, f"{refused} {[message['type'] for message in messages]}")


async def route_background(scope, receive, send, query):
    await answer(send, "answered")
    await asyncio.sleep(float(query["s"]))
    counters["background"] = counters.get("background", 0) + 1
    print("background done", flush=True)


async def route_context(scope, receive, send, query):
    """What a task of its own sees: itself, and no other request's variables."""
    before = seen.get()
    seen.set(query["name"])
    task = asyncio.current_task()
    await asyncio.sleep(0.01)
    same = asyncio.current_task() is task
    child = await asyncio.create_task(read_seen())
    await answer(send, f"{before} {seen.get()} {child} {same}")


async def read_seen():
    return seen.get()


async def route_parts(scope, receive, send, query):
    """Receives and sends in tasks of their own, and with a time limit."""
    message = await asyncio.create_task(receive())
    try:
        await asyncio.wait_for(receive(), 0.05)
        late = "disconnect"
    except asyncio.TimeoutError:
        late = "timeout"
    await asyncio.gather(send({"type": "http.response.start", "status": 200, "headers": []}))
    await asyncio.create_task(send({"type": "http.response.body", "body": f"{message['type']} {late}".encode()}))
