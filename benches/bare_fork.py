#!/usr/bin/env python3
"""What the workers of the row `memory` take without any server: `python3 benches/bare_fork.py`, once the row has run.

A process imports the app, freezes the garbage collector and forks; the children call the app in a loop. A server that forks
after the import has its own part on top of what is there without files. `--rehearse` calls the app before the fork, too.
"""

import argparse
import gc
import os
import sys
from wsgiref.util import setup_testing_defaults

import environment
import processes

WORKERS = 4
PATHS = ["/", "/django"]
REHEARSALS = 20


def main():
    options = arguments()
    if sys.prefix != str(environment.VENV):
        os.execv(environment.PYTHON, [environment.PYTHON, *sys.argv])
    sys.path.insert(0, str(environment.APPS))
    from site_app import app

    for number in range(REHEARSALS * options.rehearse):
        ask(app, number)
    gc.collect()
    gc.freeze()
    workers = [Worker(app) for _ in range(WORKERS)]
    tell("forked")
    workers[0].serve(1)
    tell("one request")
    share = options.requests // WORKERS
    for worker in workers:
        worker.serve(share)
    tell(f"{share * WORKERS:,} requests")
    for worker in workers:
        worker.end()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rehearse", action="store_true", help="call the app before the fork, too")
    return parser.parse_args()


class Worker:
    """A child that calls the app as often as it is told."""

    def __init__(self, app):
        (orders, self.orders), (self.answers, answers) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            while count := int.from_bytes(os.read(orders, 4), "big"):
                for number in range(count):
                    ask(app, number)
                os.write(answers, b".")
            os._exit(0)

    def serve(self, count):
        os.write(self.orders, count.to_bytes(4, "big"))
        os.read(self.answers, 1)

    def end(self):
        os.write(self.orders, bytes(4))
        os.waitpid(self.pid, 0)


def ask(app, number):
    environ = {"PATH_INFO": PATHS[number % len(PATHS)]}
    setup_testing_defaults(environ)
    response = app(environ, lambda status, headers, exc_info=None: None)
    for _ in response:
        pass
    if hasattr(response, "close"):
        response.close()


def tell(when):
    all_pages, of_no_file = (processes.pss_mib(os.getpid(), kind) for kind in ("Pss", "Pss_Anon"))
    print(f"{when}: PSS {all_pages:.1f} MiB, without files {of_no_file:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
