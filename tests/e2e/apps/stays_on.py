"""What does not end by itself: a stream, a task that answers its cancellation with an exit, a generator."""

import asyncio
import sys

kept = []


async def stream(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await asyncio.sleep(0.05)
    finally:
        print("stream ended", flush=True)


async def exit_when_cancelled():
    try:
        await asyncio.sleep(3600)
    finally:
        sys.exit(7)


async def endless():
    try:
        while True:
            yield
    finally:
        await asyncio.sleep(3600)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    match scope["path"]:
        case "/stream":
            await stream(send)
        case "/sleep":
            print("sleeps", flush=True)
            await asyncio.sleep(2.5)
        case "/exit-when-cancelled":
            kept.extend(asyncio.create_task(exit_when_cancelled()) for _ in range(3))
        case "/generator":
            kept.append(endless())
            await anext(kept[-1])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})
