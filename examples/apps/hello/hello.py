"""Says hello with the standard library alone: a WSGI app is a callable, nothing more (PEP 3333)."""

import os
import sys


def application(environ, start_response):
    """Answers every path with a page that says which process made it."""
    body = "{greeting} from {path}\nworker {pid}, Python {python}\n".format(
        greeting=os.environ.get("GREETING", "Hello"),
        path=environ["PATH_INFO"],
        pid=os.getpid(),
        python=sys.version.split()[0],
    ).encode()
    start_response(
        "200 OK",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
