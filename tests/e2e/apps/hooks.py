"""Hooks that note in a file what they are called with."""

import os


def note(*words):
    with open("events", "a") as events:
        events.write(" ".join(str(word) for word in words) + "\n")


def post_fork(server, worker):
    worker.log.info("post_fork of %d in %s", worker.age, "the worker")
    note("post_fork", worker.age, worker.pid == os.getpid(), server.generation)


def worker_init(worker):
    note("worker_init", worker.age)


def worker_exit(server, worker):
    note("worker_exit", worker.age, worker.pid == os.getpid())


def worker_abort(worker):
    note("worker_abort", worker.age, worker.pid == os.getpid())


def child_exit(server, worker):
    note("child_exit", worker.age, worker.pid != os.getpid(), worker.exitcode)


def pre_request(worker, req):
    note("pre_request", req.method, req.uri, req.path, req.query, dict(req.headers)["X-A"], req.version)


def post_request(worker, req, environ, resp):
    note("post_request", req.path, resp.status, resp.status_code, resp.sent, dict(resp.headers).get("x-b"))


def when_ready(server):
    note("when_ready", server.generation, server.pid, server.address[0][0])


def on_exit(server):
    note("on_exit", server.generation)
