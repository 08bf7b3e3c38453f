"""Waits as many milliseconds as the path says, as for a database: `/10`."""

import time

BODY = [b"Hello, World!"]
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def app(environ, start_response):
    time.sleep(int(environ["PATH_INFO"].lstrip("/") or 0) / 1000)
    start_response("200 OK", HEADERS)
    return BODY
