"""What requests see of a contextvar that others have set, under each interface."""

import contextvars

said = contextvars.ContextVar("said", default="nothing")


def before_request(worker, request):
    before = said.get()
    said.set(f"by the hook of {request.path}")
    if before != "nothing":
        said.set(f"{before}, before {request.path}")


def after_request(worker, request, environ, response):
    print(f"after {request.path}: {said.get()}", flush=True)


class Parts:
    """Goes on when the app has returned, as a generator does."""

    def __init__(self, parts):
        self.parts = iter(parts)

    def __iter__(self):
        return self

    def __next__(self):
        part = next(self.parts)
        said.set("by an iterator")
        return part

    def close(self):
        said.set("by close")


def wsgi(environ, start_response):
    path, before = environ["PATH_INFO"], said.get()
    said.set(f"by the app in {path}")
    start_response("200 OK", [])
    if path == "/parts":
        return Parts([before.encode()])
    if path == "/generator":
        return later(before)
    return [before.encode()]


def later(before):
    yield before.encode()
    said.set("by a generator")


async def asgi(scope, receive, send):
    import asyncio

    if scope["type"] == "lifespan":
        said.set("by the lifespan")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    before = said.get()
    said.set(f"by the app in {scope['path']}")
    if scope["path"] == "/later":
        await asyncio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/file":
        return await send({"type": "http.response.pathsend", "path": __file__})
    await send({"type": "http.response.body", "body": before.encode()})
