"""A reload every second under load, and whether any client notices.

The clients are strict: a connection that ends without an answer to a request is a failed request, even where a
browser would quietly try again, unless the answer before it said `Connection: close`.
"""

import os
import signal
import socket
import threading
import time
from collections import Counter

import servers

KEEP_ALIVE_CLIENTS = 50
CONNECTING_CLIENTS = 50
# Between two requests of a client: 100 of them make about 2,000 requests a second.
PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 10


class Failed(Exception):
    pass


class Client(threading.Thread):
    def __init__(self, port, keeps_alive, stop):
        super().__init__(daemon=True)
        self.port, self.keeps_alive, self.stop = port, keeps_alive, stop
        self.answers, self.failures, self.slowest = Counter(), Counter(), 0.0

    def run(self):
        connection = None
        while not self.stop.wait(PAUSE_SECONDS):
            begin = time.monotonic()
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)
                body, is_open = ask(connection, self.keeps_alive)
                self.answers[body] += 1
            except (OSError, Failed) as error:
                self.failures[type(error).__name__ if isinstance(error, OSError) else str(error)] += 1
                is_open = False
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if connection and not is_open:
                connection.close()
                connection = None


def ask(connection, keeps_alive):
    """The body of the answer, and whether the connection may be used again."""
    close = b"" if keeps_alive else b"Connection: close\r\n"
    connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n" + close + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if status.split()[1] != b"200":
        raise Failed(f"status {status.split()[1].decode()}")
    while len(body) < int(fields[b"content-length"]):
        body += receive(connection)
    return body.decode(), keeps_alive and fields.get(b"connection", b"").lower() != b"close"


def receive(connection):
    received = connection.recv(65536)
    if not received:
        raise Failed("closed without an answer")
    return received


def under_load(server, setup, options):
    stop = threading.Event()
    kinds = [True] * KEEP_ALIVE_CLIENTS + [False] * CONNECTING_CLIENTS
    clients = [Client(server.port, keeps_alive, stop) for keeps_alive in kinds]
    for client in clients:
        client.start()
    end = time.monotonic() + options.reload_seconds
    edition = 0
    while time.monotonic() < end:
        time.sleep(1)
        edition += 1
        reload(server, setup, edition)
    time.sleep(1)
    stop.set()
    for client in clients:
        client.join(ANSWER_SECONDS * 2)
    answers, failures = Counter(), Counter()
    for client in clients:
        answers += client.answers
        failures += client.failures
    for reason, count in failures.most_common(5):
        print(f"    {count} x {reason}", flush=True)
    return {
        "reloads": edition,
        # Near the number of workers when every reload took place before the next.
        "new workers per reload": len(answers) / edition,
        "requests": answers.total(),
        "failed": failures.total(),
        "slowest ms": max(client.slowest for client in clients) * 1000,
    }


def reload(server, setup, edition):
    """Ours: the file is saved as editors save it, by a rename. Others: SIGHUP."""
    config = server.directory / "rgunicorn.toml"
    if not config.exists():
        os.kill(server.pid, signal.SIGHUP)
        return
    saved = config.with_suffix(".new")
    changed = f'\n[env]\nEDITION = "{edition}"\n'
    saved.write_text(servers.rgunicorn_config(setup, server.port, server.directory, changed))
    saved.rename(config)
