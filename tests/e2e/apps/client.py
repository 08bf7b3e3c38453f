"""Says who the client is, as WSGI and as ASGI: `address port scheme host peer`, a dash for what is not known."""

import os


def line(*words):
    return " ".join("-" if word in (None, "") else str(word) for word in words).encode()


def application(environ, start_response):
    keys = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "rgunicorn.peer")
    body = line(*(environ.get(key) for key in keys))
    if environ["PATH_INFO"] == "/server":
        body = line(environ["SERVER_NAME"], environ["SERVER_PORT"])
    if environ["PATH_INFO"] == "/pid":
        body = line(os.getpid())
    if environ.get("HTTP_UPGRADE") == "websocket":
        return speak(environ, body.decode())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def speak(environ, text):
    from simple_websocket import ConnectionClosed, Server

    socket = Server(environ)
    socket.send(text)
    try:
        while socket.receive():
            socket.send(text)
    except ConnectionClosed:
        raise StopIteration


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    address, port = scope["client"] or ("", 0)
    host = b" ".join(value for name, value in scope["headers"] if name == b"host").decode()
    peer = scope["extensions"].get("rgunicorn.peer")
    if peer:
        peer = "%s:%d" % peer["address"] if peer["address"] else "unix"
    body = line(address, port or None, scope["scheme"], host, peer)
    if scope["path"] == "/pid":
        body = line(os.getpid())
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": body.decode()})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
