"""The rows of the table: which servers, how they run, what is measured, and what it must come to."""

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

import changes
import load
import memory
import processes
import rare
import reloads
import sleepers
import websockets
from goals import at_least, at_most, ratio_at_least, ratio_at_most
from load import Load
from servers import GUNICORN_GEVENT, LIMIT, OURS, UNWATCHED, Setup

WSGI = [OURS, "fastwsgi", "bjoern", "granian", "uwsgi", "gunicorn sync", "gunicorn gthread"]
SEVERAL_WORKERS = [OURS, "granian", "uwsgi", "gunicorn sync"]
ASGI = [OURS, "uvicorn", "granian"]
WEBSOCKETS = [*ASGI, "uvicorn wsproto"]
THREADED = [OURS, "granian", "uwsgi", "gunicorn gthread"]


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    servers: list
    setup: Setup
    # (server, setup, options) -> {metric: value}
    measure: Callable
    goals: list = field(default_factory=list)
    # Long rows are measured once, not in every round.
    once: bool = False
    # Why it cannot be measured on this machine now; None when it can.
    obstacle: Callable = lambda: None


def under(load_):
    return lambda server, setup, options: load.steady(server, setup, load_, options.seconds)


def mixed(server, setup, options):
    """Short requests are measured while long ones occupy some of the workers."""
    long = Load(connections=2, path="/100").start(server, options.seconds + 1, False)
    time.sleep(0.5)
    found = Load(connections=8, path="/1").run(server, options.seconds, False)
    load.finish(long, options.seconds + 1)
    return found


def watched(server, setup, options):
    """With a collector that asks each second, where there is somebody to ask."""
    is_over = threading.Event()
    collector = threading.Thread(target=scrape, args=(server.directory / "admin.sock", is_over))
    collector.start()
    try:
        return load.steady(server, setup, Load(), options.seconds)
    finally:
        is_over.set()
        collector.join()


def scrape(path, is_over):
    while path.exists() and not is_over.wait(1):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        if b"rgunicorn_requests_total{" not in answer:
            raise RuntimeError(f"no metrics: {answer[:200]}")


def balance(server, setup, options):
    seconds = options.seconds + 1
    wrk = Load(connections=64).start(server, seconds, False)
    time.sleep(1)  # wrk has connected and every worker had its chance
    counts = processes.connections(server.pid, server.port)
    found = load.finish(wrk, seconds)
    return found | {"connections": "/".join(map(str, counts)), "most": max(counts)}


ROWS = [
    Row(
        "hello",
        "hello world, keep-alive, 64 connections",
        [*WSGI, LIMIT],
        Setup("hello"),
        under(Load()),
        [
            ratio_at_least("rps", 1.15),
            ratio_at_most("us", 0.82),
            ratio_at_least("rps", 20, "gunicorn gthread"),
            ratio_at_most("p99", 1),
        ],
    ),
    Row(
        "threads",
        "hello world with 4 threads",
        THREADED,
        Setup("hello", threads=4),
        under(Load()),
        [ratio_at_least("rps", 1.5, "granian"), at_most("p99", 2)],
    ),
    Row("echo", "echo of a 10 KiB POST", WSGI, Setup("echo"), under(Load(post=10240)), [ratio_at_least("rps", 1.05)]),
    Row("flask", "Flask hello", WSGI, Setup("flask_hello"), under(Load()), [ratio_at_least("rps", 1)]),
    Row(
        "asgi",
        "ASGI hello world on uvloop",
        ASGI,
        Setup("asgi_hello", interface="asgi"),
        under(Load()),
        [ratio_at_least("rps", 2.5), ratio_at_most("p99", 1)],
    ),
    Row(
        "fastapi",
        "FastAPI answers JSON, on uvloop",
        ASGI,
        Setup("fastapi_json", interface="asgi"),
        under(Load()),
        [ratio_at_least("rps", 1.2), ratio_at_most("p99", 1)],
    ),
    Row(
        "websocket",
        f"echo of 64 bytes on {websockets.ECHOING} WebSockets (requests are messages), on uvloop",
        WEBSOCKETS,
        Setup("asgi_websocket", interface="asgi"),
        websockets.echo,
        [ratio_at_least("rps", 1.3), ratio_at_most("p99", 1)],
    ),
    Row(
        "idle-websockets",
        f"memory of {websockets.IDLE:,} WebSockets on which nothing is said",
        WEBSOCKETS,
        Setup("asgi_websocket", interface="asgi", connections=websockets.IDLE + 100),
        websockets.idle,
        [ratio_at_most("KiB each", 0.5, "uvicorn")],
        once=True,
    ),
    Row(
        "close",
        "a new connection for each request",
        [*WSGI, LIMIT],
        Setup("hello"),
        under(Load(close=True)),
        [ratio_at_least("rps", 1)],
    ),
    Row(
        "rare",
        f"{rare.PER_SECOND} requests a second on one connection",
        WSGI,
        Setup("hello"),
        rare.requests,
        [ratio_at_most("us", 1, "granian")],
    ),
    Row(
        "sleep",
        "an app that sleeps 10 ms, 16 threads (1,600/s are possible)",
        THREADED,
        Setup("sleeping", threads=16),
        under(Load(path="/10")),
        [at_least("rps", 1500), ratio_at_most("us", 1, "granian")],
    ),
    Row(
        "gevent",
        "hello world in greenlets: worker_class gevent",
        [OURS, GUNICORN_GEVENT],
        Setup("hello", worker_class="gevent"),
        under(Load()),
        [ratio_at_least("rps", 3), ratio_at_most("p99", 1)],
    ),
    Row(
        "eventlet",
        "hello world in greenlets: worker_class eventlet, which Gunicorn has no more, beside its gevent",
        [OURS, GUNICORN_GEVENT],
        Setup("hello", worker_class="eventlet"),
        under(Load()),
        [ratio_at_least("rps", 3), ratio_at_most("p99", 1)],
    ),
    Row(
        "sleepers",
        f"{sleepers.COUNT:,} requests that sleep 100 ms, at once in one worker of greenlets",
        [OURS, GUNICORN_GEVENT],
        Setup("sleeping", worker_class="gevent"),
        sleepers.all_at_once,
        [at_most("all ms", 300)],
    ),
    Row(
        "sync4",
        "an app that sleeps 10 ms, 4 workers, 16 clients with keep-alive (400/s are possible)",
        SEVERAL_WORKERS,
        Setup("sleeping", workers=4),
        under(Load(connections=16, path="/10")),
        [at_least("rps", 380)],
    ),
    Row(
        "sync4-close",
        "the same with a connection for each request",
        SEVERAL_WORKERS,
        Setup("sleeping", workers=4),
        under(Load(connections=16, path="/10", close=True)),
        [at_least("rps", 380)],
    ),
    Row(
        "mix",
        "4 workers, 8 clients ask for 1 ms (shown) while 2 ask for 100 ms",
        [*SEVERAL_WORKERS, "gunicorn gthread"],
        Setup("sleeping", workers=4),
        mixed,
        [
            ratio_at_most("p99", 1, "granian"),
            ratio_at_most("p99", 1, "gunicorn sync"),
            ratio_at_most("p99", 1, "gunicorn gthread"),
        ],
    ),
    Row(
        "balance",
        "64 connections on 4 workers: how many each holds (16 are fair)",
        [OURS, "granian", "gunicorn gthread"],
        Setup("hello", workers=4),
        balance,
        [at_most("most", 24)],
    ),
    Row(
        "access-log",
        "hello world with the access log on, to a file",
        [OURS, "granian", "gunicorn gthread"],
        Setup("hello", access_log=True),
        under(Load()),
    ),
    Row(
        "everything",
        "hello world with access log, admin interface, a scrape of /metrics each second and statsd, against none of it",
        [OURS, UNWATCHED],
        Setup("hello", access_log=True, is_watched=True),
        watched,
        [ratio_at_least("rps", 0.97, UNWATCHED)],
    ),
    Row(
        "memory",
        "PSS of 4 workers of a Django and Flask app with preload",
        [OURS, "gunicorn sync"],
        Setup("site_app", workers=4, preload=True),
        memory.preloaded,
        [ratio_at_most("PSS boot MiB", 0.8, "gunicorn sync"), ratio_at_most("PSS used MiB", 0.55, "gunicorn sync")],
        once=True,
    ),
    Row(
        "memory-merged",
        f"the same with `merge_memory`, each figure after {memory.MERGE_SECONDS} s",
        [OURS, "gunicorn sync"],
        Setup("site_app", workers=4, preload=True, merge_memory=True),
        memory.preloaded,
        [ratio_at_most("PSS boot MiB", 0.8, "gunicorn sync"), ratio_at_most("PSS used MiB", 0.55, "gunicorn sync")],
        once=True,
        obstacle=memory.is_not_merged,
    ),
    Row(
        "changes",
        "how fast changes are, of 2 workers of an app that imports in no time",
        [OURS],
        Setup("edition", workers=2),
        changes.measured,
        [
            at_most("save to new code ms", 150),
            at_most("kill -9 ms", 100),
            at_most("preload: one more ms", 50),
            at_most("preload: kill -9 ms", 50),
            at_most("failed", 0),
        ],
        once=True,
    ),
    Row(
        "reload",
        "a reload every second under 50 keep-alive and 50 connecting clients",
        [OURS, "gunicorn gthread"],
        Setup("who", workers=2, threads=2),
        reloads.under_load,
        [at_most("failed", 0), at_most("closed idle", 0), at_least("new workers per reload", 1)],
        once=True,
    ),
]
