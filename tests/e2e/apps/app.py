"""The app of most tests: one route for each thing an app can do. Standard library alone."""

import json
import os
import sys
import threading
import time
from urllib.parse import parse_qs

VERSION = "1"
lock = threading.Lock()
counters = {}


def count(name):
    with lock:
        counters[name] = counters.get(name, 0) + 1
        return counters[name]


def answer(start_response, body, status="200 OK", *fields):
    if isinstance(body, str):
        body = body.encode()
    start_response(status, [("Content-Length", str(len(body))), *fields])
    return [body]


class Body:
    """An iterable that tells when it is closed."""

    def __init__(self, chunks, name):
        self.chunks, self.name = iter(chunks), name

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        count(f"closed {self.name}")


def slowly(chunks, pause):
    for number, chunk in enumerate(chunks):
        if number:
            time.sleep(pause)
        yield chunk


def application(environ, start_response):
    path = environ["PATH_INFO"]
    query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    route = globals().get("route_" + path.strip("/").replace("-", "_"))
    if route is None:
        return answer(start_response, f"hello from {path}")
    count(path)
    tell_begun(query)
    return route(environ, start_response, query)


def tell_begun(query):
    """A test waits for the file that it names before it goes on."""
    if "begun" in query:
        open(query["begun"], "w").close()


def route_version(environ, start_response, query):
    return answer(start_response, VERSION)


def route_pid(environ, start_response, query):
    return answer(start_response, str(os.getpid()))


def route_python(environ, start_response, query):
    return answer(start_response, "%d.%d" % sys.version_info[:2])


def route_prefix(environ, start_response, query):
    return answer(start_response, sys.prefix)


def route_env(environ, start_response, query):
    return answer(start_response, os.environ.get(query["name"], "(unset)"))


def route_cwd(environ, start_response, query):
    return answer(start_response, os.getcwd())


def route_environ(environ, start_response, query):
    plain = {key: value if isinstance(value, (str, int, bool, tuple)) else type(value).__name__ for key, value in environ.items()}
    return answer(start_response, json.dumps(plain), "200 OK", ("Content-Type", "application/json"))


def route_echo(environ, start_response, query):
    return answer(start_response, environ["wsgi.input"].read())


def route_unread(environ, start_response, query):
    return answer(start_response, "did not look")


def route_counter(environ, start_response, query):
    """How often the named thing happened, in this worker."""
    return answer(start_response, str(counters.get(query["name"], 0)))


def route_sleep(environ, start_response, query):
    time.sleep(float(query["s"]))
    return answer(start_response, "slept")


def route_spin(environ, start_response, query):
    """Python code that can be interrupted, for at most so many seconds."""
    until = time.monotonic() + float(query["s"])
    while time.monotonic() < until:
        pass
    return answer(start_response, "spun")


def route_stream(environ, start_response, query):
    chunks = [b"chunk %d\n" % number for number in range(int(query.get("n", 3)))]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Body(slowly(chunks, float(query.get("pause", 0))), "stream")


def route_large(environ, start_response, query):
    size = int(query["size"])
    start_response("200 OK", [("Content-Length", str(size))])
    return Body([b"x" * size], "large")


def route_orphan(environ, start_response, query):
    """Leaves a process behind whose parent is gone."""
    import subprocess

    pid = subprocess.check_output(["sh", "-c", "sleep 0.3 >/dev/null 2>&1 & echo $!"], text=True)
    return answer(start_response, pid.strip())


def route_die(environ, start_response, query):
    os.kill(os.getpid(), int(query.get("signal", 9)))
    time.sleep(10)


def route_exit(environ, start_response, query):
    os._exit(int(query["code"]))


def route_error(environ, start_response, query):
    raise RuntimeError("the app is broken on purpose")


def factory(name, key=None):
    def made(environ, start_response):
        return answer(start_response, f"made with {name!r} and {key!r}")

    return made


class Holder:
    inner = staticmethod(factory("held"))
