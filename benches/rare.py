"""Few requests with pauses in between: what a server spends on each when it has next to nothing to do."""

import http.client
import time

import processes

PER_SECOND = 50


def requests(server, setup, options):
    """CPU microseconds per request of all processes of the server."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    ask(client)
    count = PER_SECOND * options.seconds
    before = processes.cpu_microseconds(server.pid)
    for _ in range(count):
        ask(client)
        time.sleep(1 / PER_SECOND)
    spent = processes.cpu_microseconds(server.pid) - before
    client.close()
    return {"requests": count, "rps": PER_SECOND, "us": spent / count}


def ask(client):
    """On the connection that is there, or on a new one where the server closed it."""
    client.request("GET", "/")
    client.getresponse().read()
