"""Says which edition of the configuration it runs under, so that the bench sees when a change is in force."""

import os

EDITION = os.environ.get("EDITION", "0").encode()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(EDITION)))])
    return [EDITION]
