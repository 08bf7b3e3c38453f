"""Many requests at once, each on a connection of its own: how long until all are answered."""

import selectors
import socket
import time

COUNT = 1000
REQUEST = b"GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n"
PATIENCE_SECONDS = 30


def all_at_once(server, setup, options):
    once(server, COUNT)  # whatever is made for the first time
    milliseconds, failed = once(server, COUNT)
    return {"all ms": milliseconds, "failed": failed}


def once(server, count):
    """Milliseconds from the first request sent to the last answer received, and how many were no 200."""
    with selectors.DefaultSelector() as waiting:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        begun = time.monotonic()
        for client in clients:
            client.sendall(REQUEST)
            waiting.register(client, selectors.EVENT_READ)
        failed = 0
        while waiting.get_map():
            ready = waiting.select(PATIENCE_SECONDS)
            if not ready:
                raise RuntimeError(f"{len(waiting.get_map())} of {count} requests were not answered")
            for key, _ in ready:
                failed += not key.fileobj.recv(4096).startswith(b"HTTP/1.1 200 ")
                waiting.unregister(key.fileobj)
        took = time.monotonic() - begun
        for client in clients:
            client.close()
    return took * 1000, failed
