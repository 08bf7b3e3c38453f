"""Endless streams, and how many of them have ended."""

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
