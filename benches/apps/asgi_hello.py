"""The least that an ASGI app can be."""

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY = {"type": "http.response.body", "body": b"Hello, world!"}


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send(START)
    await send(BODY)
