#!/usr/bin/env python3
"""Reloads under load, and whether any client notices: `python3 benches/reloads.py --count 1000`, for each class of worker.

The clients are strict: a connection that ends without an answer to a request is a failed request, even where a
browser would quietly try again, unless the answer before it said `Connection: close`. One that ends while it idles is
counted apart.
"""

import argparse
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter

import servers

KEEP_ALIVE_CLIENTS = 50
CONNECTING_CLIENTS = 50
# Between two requests of a client: 100 of them make about 2,000 requests a second.
PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 10


SETUPS = {
    "sync": servers.Setup("who", workers=2, worker_class="sync"),
    "gthread": servers.Setup("who", workers=2, threads=4, worker_class="gthread"),
    "asgi": servers.Setup("who_asgi", workers=2, worker_class="asgi"),
    "gevent": servers.Setup("who", workers=2, worker_class="gevent"),
    "eventlet": servers.Setup("who", workers=2, worker_class="eventlet"),
}
RELOAD_SECONDS = 60


class Failed(Exception):
    pass


class Client(threading.Thread):
    def __init__(self, port, keeps_alive, stop):
        super().__init__(daemon=True)
        self.port, self.keeps_alive, self.stop = port, keeps_alive, stop
        self.answers, self.failures, self.slowest = Counter(), Counter(), 0.0
        self.closed_idle = self.closed_politely = 0

    def run(self):
        connection = None
        while not self.stop.wait(PAUSE_SECONDS):
            if connection and has_ended(connection):
                self.closed_idle += 1
                connection.close()
                connection = None
            begin = time.monotonic()
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)
                body, is_open = ask(connection, self.keeps_alive)
                self.answers[body] += 1
                self.closed_politely += self.keeps_alive and not is_open
            except (OSError, Failed) as error:
                self.failures[type(error).__name__ if isinstance(error, OSError) else str(error)] += 1
                is_open = False
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if connection and not is_open:
                connection.close()
                connection = None


def has_ended(connection):
    """Whether the server closed a connection on which nothing was asked."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)


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
    """A reload each second, for a row of the bench."""
    clients = Clients(server)
    end = time.monotonic() + options.reload_seconds
    edition = 0
    while time.monotonic() < end:
        time.sleep(1)
        edition += 1
        reload(server, setup, edition)
    time.sleep(1)
    return clients.found(edition)


def one_after_another(server, setup, count):
    """So many reloads of ours, each as soon as the one before is done."""
    clients = Clients(server)
    for edition in range(1, count + 1):
        reload(server, setup, edition)
        await_done(server, edition)
    time.sleep(1)
    return clients.found(count)


class Clients:
    """A crowd that asks from now on, until it is asked what it found."""

    def __init__(self, server):
        self.stop, self.begin = threading.Event(), time.monotonic()
        kinds = [True] * KEEP_ALIVE_CLIENTS + [False] * CONNECTING_CLIENTS
        self.all = [Client(server.port, keeps_alive, self.stop) for keeps_alive in kinds]
        for client in self.all:
            client.start()

    def found(self, reloads):
        self.stop.set()
        for client in self.all:
            client.join(ANSWER_SECONDS * 2)
        answers, failures = Counter(), Counter()
        for client in self.all:
            answers += client.answers
            failures += client.failures
        for reason, count in failures.most_common(5):
            print(f"    {count} x {reason}", flush=True)
        return {
            "reloads": reloads,
            # Near the number of workers when every reload took place before the next.
            "new workers per reload": len(answers) / reloads,
            "requests": answers.total(),
            "failed": failures.total(),
            "closed idle": sum(client.closed_idle for client in self.all),
            "told to close": sum(client.closed_politely for client in self.all),
            "slowest ms": max(client.slowest for client in self.all) * 1000,
            "seconds": time.monotonic() - self.begin,
        }


def await_done(server, edition):
    deadline = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < deadline:
        done = re.findall(rb"reload=(\d+) (done|rejected)", (server.directory / "output.log").read_bytes())
        if (str(edition).encode(), b"done") in done:
            return
        time.sleep(0.01)
    raise RuntimeError(f"reload {edition} was not done within {RELOAD_SECONDS} s:\n{server.log_tail()}")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=lambda text: text.split(","), default=list(SETUPS), metavar="CLASS,…")
    parser.add_argument("--count", type=int, default=1000, help="of reloads for each class")
    options = parser.parse_args()
    if unknown := set(options.classes) - set(SETUPS):
        parser.error(f"no such class: {', '.join(sorted(unknown))}")
    # So that servers are stopped when the bench is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    bad = 0
    for number, name in enumerate(options.classes):
        with servers.running(servers.OURS, SETUPS[name]) as server:
            found = one_after_another(server, SETUPS[name], options.count)
        if number == 0:
            print("| class |" + "".join(f" {metric} |" for metric in found))
            print("|---|" + "---:|" * len(found))
        print(f"| {name} |" + "".join(f" {value:,.0f} |" for value in found.values()), flush=True)
        bad += found["failed"] + found["closed idle"]
    print("no client noticed" if bad == 0 else f"{bad} requests failed or idle connections were closed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
