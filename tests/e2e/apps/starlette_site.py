"""Starlette: the lifespan, a middleware, streams, a background task, and clients that leave."""

import asyncio, contextlib
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

seen = []

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
    return PlainTextResponse(str(total), background=BackgroundTask(seen.append, "upload"))

async def stream(request):
    async def pieces():
        try:
            for number in range(1000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)
        finally:
            seen.append("stream")
    return StreamingResponse(pieces(), media_type="text/event-stream")

async def polled(request):
    seen.append("poll begun")
    while not await request.is_disconnected():
        await asyncio.sleep(0.02)
    seen.append("polled")
    return PlainTextResponse("never read")

async def file(request):
    return FileResponse(__file__)

async def what(request):
    return JSONResponse(seen)

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
