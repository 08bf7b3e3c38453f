"""The same as who.py, for ASGI."""

import os

BODY = {"type": "http.response.body", "body": str(os.getpid()).encode()}
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY["body"])).encode())]


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send(BODY)
