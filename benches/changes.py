"""How fast changes are: from a save to new code, one more worker, and back to full strength after a kill -9.

All by the clock of a client on the same machine. The app imports in no time, so what is measured is the server's part.
"""

import os
import re
import signal
import socket
import time
from dataclasses import replace
from statistics import median

import processes
import reloads
import servers

ROUNDS = 10
PATIENCE_SECONDS = 20
LOOK_SECONDS = 0.0005


def measured(server, setup, options):
    """Medians in milliseconds, over rounds; a worker is killed while no request is in flight, so none may fail."""
    rounds = min(ROUNDS, options.rounds * 4)
    failures = []
    found = {
        "save to new code ms": median(save(server, setup, number) for number in range(1, rounds + 1)),
        "kill -9 ms": median(kill(server, failures) for _ in range(rounds)),
    }
    with servers.running(servers.OURS, replace(setup, preload=True)) as preloaded:
        found |= {
            "preload: save ms": median(save(preloaded, replace(setup, preload=True), number) for number in range(1, rounds + 1)),
            "preload: one more ms": median(one_more(preloaded) for _ in range(rounds)),
            "preload: kill -9 ms": median(kill(preloaded, failures) for _ in range(rounds)),
        }
        kill_generation(preloaded, failures)
    return found | {"failed": len(failures)}


def save(server, setup, edition):
    """From the rename to the first answer by new code."""
    settle(server)
    begin = time.monotonic()
    reloads.reload(server, setup, edition)
    await_that(lambda: ask(server) == str(edition))
    return since(begin)


def one_more(server):
    """From the signal to the readiness of one more worker; then back."""
    settle(server)
    log = Log(server)
    begin = time.monotonic()
    os.kill(server.pid, signal.SIGTTIN)
    log.await_line(" ready")
    took = since(begin)
    os.kill(server.pid, signal.SIGTTOU)
    log.await_line(" left ")
    return took


def kill(server, failures):
    """From the death of a worker to the readiness of the next. Meanwhile another serves."""
    settle(server)
    log = Log(server)
    victim = workers(server)[0]
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    while not log.has(" ready"):
        try:
            ask(server)
        except (OSError, reloads.Failed) as error:
            failures.append(error)
    return since(begin)


def kill_generation(server, failures):
    """The process that forks workers: they go on, and are replaced by those of a new one."""
    settle(server)
    log = Log(server)
    generation = int(processes.stat(workers(server)[0])[1])
    os.kill(generation, signal.SIGKILL)
    while not log.has(" serving"):
        try:
            ask(server)
        except (OSError, reloads.Failed) as error:
            failures.append(error)


def settle(server):
    """Waits until the log has been silent: what was done before is over."""
    path = server.directory / "output.log"
    while time.time() - path.stat().st_mtime < 0.3:
        time.sleep(0.05)


def workers(server):
    """Process ids of those that are ready, as their titles tell."""
    titles = {pid: (open(f"/proc/{pid}/cmdline").read()) for pid in processes.tree(server.pid)}
    return [pid for pid, title in titles.items() if re.match("rgunicorn: worker", title)]


def ask(server):
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as connection:
        body, _ = reloads.ask(connection, False)
        return body


class Log:
    """What the server says from now on."""

    def __init__(self, server):
        self.path = server.directory / "output.log"
        self.read_to = self.path.stat().st_size

    def has(self, words):
        with open(self.path, "rb") as log:
            log.seek(self.read_to)
            text = log.read()
        if words.encode() not in text:
            return False
        self.read_to += len(text)
        return True

    def await_line(self, words):
        await_that(lambda: self.has(words))


def await_that(fact):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not come true in time")
        time.sleep(LOOK_SECONDS)


def since(begin):
    return (time.monotonic() - begin) * 1000
