"""Says which edition of the config it runs under, so that the bench sees which reloads took place."""

import os

BODY = os.environ.get("EDITION", "none").encode()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]
