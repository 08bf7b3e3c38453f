# What hooks are called with, with the names that Gunicorn's objects have, and how many arguments a hook takes. Runs in
# the engine. `say(level, text)`, which the engine gives, writes to the error log.
import http
import inspect
import traceback
from urllib.parse import urlsplit


def unfit(function, names, least):
    """How many of the named arguments to call it with, and why it cannot be called if it cannot."""
    if not callable(function):
        return 0, f"is not callable: it is of type `{type(function).__name__}`"
    call = ", ".join(names)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return 0, f"is a coroutine function, which nobody would await: write `def` for `async def` in `({call})`"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some that are written in C do not tell.
        return len(names), None
    for count in range(len(names), least - 1, -1):
        try:
            signature.bind(*names[:count])
        except TypeError:
            continue
        return count, None
    return 0, f"takes `{signature}`, and is called with `({call})`"


class Log:
    """The error log, as a logger: `%` formatting, and the traceback of the exception at hand where it is asked for."""

    def __init__(self, say):
        self._say = say

    def _write(self, level, message, arguments, exc_info=False):
        text = str(message)
        if len(arguments) == 1 and isinstance(arguments[0], dict):
            text = text % arguments[0]
        elif arguments:
            text = text % arguments
        if exc_info:
            text = f"{text}\n{traceback.format_exc().rstrip()}"
        self._say(level, text)

    def debug(self, message, *arguments, exc_info=False, **_):
        self._write("debug", message, arguments, exc_info)

    def info(self, message, *arguments, exc_info=False, **_):
        self._write("info", message, arguments, exc_info)

    def warning(self, message, *arguments, exc_info=False, **_):
        self._write("warning", message, arguments, exc_info)

    def error(self, message, *arguments, exc_info=False, **_):
        self._write("error", message, arguments, exc_info)

    def critical(self, message, *arguments, exc_info=False, **_):
        self._write("critical", message, arguments, exc_info)

    def exception(self, message, *arguments, **_):
        self._write("error", message, arguments, True)


class Offering:
    """Says what there is to somebody who looks for more of Gunicorn's."""

    def __getattr__(self, name):
        names = ", ".join(sorted(one for one in dir(self) if not one.startswith("_")))
        raise AttributeError(f"rgunicorn's {type(self).__name__.lower()} has no `{name}`; it has {names}")


class Server(Offering):
    """The arbiter, which is another process: what is known of it."""

    def __init__(self, pid, generation, address, say):
        self.pid, self.generation, self.address, self.log = pid, generation, address, Log(say)


class Worker(Offering):
    """`age` counts the workers of the server; `exitcode` is negative for a signal, and None while it lives."""

    def __init__(self, pid, age, generation, say, exitcode=None):
        self.pid, self.age, self.generation, self.exitcode, self.log = pid, age, generation, exitcode, Log(say)


class Request(Offering):
    """What is the same in both kinds of requests."""

    def _split(self):
        if self.uri.startswith("/"):
            path, _, query = self.uri.partition("?")
            return path, query
        parts = urlsplit(self.uri)
        return parts.path, parts.query

    @property
    def path(self):
        return self._split()[0]

    @property
    def query(self):
        return self._split()[1]


class WsgiRequest(Request):
    """A request, as the environ that the app gets tells of it."""

    def __init__(self, environ):
        self.environ = environ

    @property
    def method(self):
        return self.environ["REQUEST_METHOD"]

    @property
    def uri(self):
        return self.environ["RAW_URI"]

    @property
    def version(self):
        return (1, 0) if self.environ["SERVER_PROTOCOL"] == "HTTP/1.0" else (1, 1)

    @property
    def scheme(self):
        return self.environ["wsgi.url_scheme"]

    @property
    def remote_addr(self):
        return self.environ["REMOTE_ADDR"], int(self.environ.get("REMOTE_PORT") or 0)

    @property
    def headers(self):
        named = [(key[5:], value) for key, value in self.environ.items() if key.startswith("HTTP_")]
        named += [(key, self.environ[key]) for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in self.environ]
        return [(name.replace("_", "-"), value) for name, value in named]


class AsgiRequest(Request):
    """A request, as the scope that the app gets tells of it."""

    def __init__(self, scope):
        self.scope = scope

    @property
    def method(self):
        return self.scope["method"]

    @property
    def uri(self):
        query = self.scope["query_string"].decode("latin-1")
        path = self.scope["raw_path"].decode("latin-1")
        return f"{path}?{query}" if query else path

    @property
    def version(self):
        return (1, 0) if self.scope["http_version"] == "1.0" else (1, 1)

    @property
    def scheme(self):
        return self.scope["scheme"]

    @property
    def remote_addr(self):
        return tuple(self.scope["client"] or ("", 0))

    @property
    def headers(self):
        pairs = self.scope["headers"]
        return [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in pairs]


class Response(Offering):
    """What was answered; `sent` counts the bytes of the body."""

    def __init__(self, status_code, head, sent):
        self.status_code, self.sent, self._head = status_code, sent, head

    @property
    def status(self):
        line = self._head.split(b"\r\n", 1)[0].decode("latin-1")
        if line:
            return line.partition(" ")[2]
        try:
            return f"{self.status_code} {http.HTTPStatus(self.status_code).phrase}"
        except ValueError:
            return str(self.status_code)

    @property
    def headers(self):
        lines = self._head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return [(name, value.strip()) for name, _, value in pairs]
