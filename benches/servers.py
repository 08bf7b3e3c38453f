"""The servers that are compared: how each is started for a row, and stopped again."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import environment
import processes

START_SECONDS = 30
STOP_SECONDS = 10
SERVER_CPU, CLIENT_CPU = (sorted(os.sched_getaffinity(0)) * 2)[:2]


class DidNotStart(Exception):
    pass


@dataclass(frozen=True)
class Setup:
    """How a row wants its servers run. Access logs are off unless the row is about them."""

    app: str  # the module in apps/; the callable is `app`
    workers: int = 1
    threads: int = 1
    # Ours; by default what suits the app and `threads`.
    worker_class: str = "auto"
    preload: bool = False
    # The kernel may merge equal pages: ours alone.
    merge_memory: bool = False
    access_log: bool = False
    # All that watches is on: ours alone.
    is_watched: bool = False
    interface: str = "wsgi"
    # How many a worker may hold, where a server has a limit.
    connections: int = 1000

    @property
    def is_pinned(self):
        """One worker gets one processor and the load client another, so that rounds can be compared."""
        return self.workers == 1


def rgunicorn_config(setup, port, directory, extra=""):
    return f"""\
app = "{setup.app}:app"
bind = "127.0.0.1:{port}"
workers = {setup.workers}
threads = {setup.threads}
worker_class = "{setup.worker_class}"
preload = {str(setup.preload).lower()}
merge_memory = {str(setup.merge_memory).lower()}
python = "{environment.PYTHON}"
chdir = "{environment.APPS}"

[limits]
connections = {setup.connections}

[log]
access = "{directory / "access.log" if setup.access_log else "off"}"
{extra}"""


def rgunicorn(setup, port, directory):
    config = directory / "rgunicorn.toml"
    watched = WATCHED.format(directory=directory) if setup.is_watched else ""
    config.write_text(rgunicorn_config(setup, port, directory, watched))
    return [environment.TARGET / "release" / "rgunicorn", "-c", config]


def unwatched(setup, port, directory):
    """Ours without all that can be switched off."""
    config = directory / "rgunicorn.toml"
    setup = replace(setup, access_log=False)
    config.write_text(rgunicorn_config(setup, port, directory, '[admin]\nsocket = "off"\n'))
    return [environment.TARGET / "release" / "rgunicorn", "-c", config]


# Nobody listens at statsd's port, which is all the same to who sends.
WATCHED = """\
[admin]
socket = "{directory}/admin.sock"

[statsd]
host = "127.0.0.1:8125"
"""


def gunicorn(worker_class):
    def command(setup, port, directory):
        log = ["--access-logfile", directory / "access.log"] if setup.access_log else []
        preload = ["--preload"] if setup.preload else []
        threads = ["--threads", setup.threads] if worker_class == "gthread" else []
        options = ["--worker-class", worker_class, "--workers", setup.workers, "--bind", f"127.0.0.1:{port}"]
        return [environment.VENV / "bin" / "gunicorn", *options, *threads, *preload, *log, f"{setup.app}:app"]

    return command


def granian(setup, port, directory):
    log = ["--access-log"] if setup.access_log else []
    options = ["--interface", setup.interface, "--host", "127.0.0.1", "--port", port, "--workers", setup.workers]
    threads = ["--blocking-threads", setup.threads] if setup.interface == "wsgi" else ["--loop", "uvloop"]
    if setup.interface == "asgi":
        threads += ["--backpressure", setup.connections]
    return [environment.VENV / "bin" / "granian", *options, *threads, *log, f"{setup.app}:app"]


def uvicorn(websockets="auto"):
    def command(setup, port, directory):
        log = [] if setup.access_log else ["--no-access-log"]
        options = ["--host", "127.0.0.1", "--port", port, "--workers", setup.workers, "--log-level", "warning"]
        kind = ["--loop", "uvloop", "--http", "httptools", "--ws", websockets]
        return [environment.VENV / "bin" / "uvicorn", *options, *kind, *log, f"{setup.app}:app"]

    return command


def uwsgi(setup, port, directory):
    log = ["--logto", directory / "access.log"] if setup.access_log else ["--disable-logging"]
    # Its plain HTTP socket closes after each answer without saying so, which wrk would count as an error; the one that
    # keeps alive serves one connection per worker.
    options = ["--http-socket", f"127.0.0.1:{port}", "--master", "--die-on-term", "--need-app", "--add-header", "Connection: close"]
    size = ["--processes", setup.workers, "--threads", setup.threads]
    place = ["--virtualenv", environment.VENV, "--module", f"{setup.app}:app"]
    return [environment.VENV / "bin" / "uwsgi", *options, *size, *log, *place]


def from_python(statement):
    """For servers without a command line: `statement` runs `app` on `port`."""

    def command(setup, port, directory):
        return [environment.PYTHON, "-c", f"from {setup.app} import app; port = {port}; {statement}"]

    return command


def limit(setup, port, directory):
    return [environment.TARGET / "release" / "examples" / "limit", f"127.0.0.1:{port}"]


OURS = "rgunicorn"
UNWATCHED = "rgunicorn, all off"
LIMIT = "no Python"
GUNICORN_GEVENT = "gunicorn gevent"
COMMANDS = {
    OURS: rgunicorn,
    "fastwsgi": from_python("import fastwsgi; fastwsgi.run(app, '127.0.0.1', port)"),
    "bjoern": from_python("import bjoern; bjoern.run(app, '127.0.0.1', port)"),
    "granian": granian,
    "uvicorn": uvicorn(),
    "uvicorn wsproto": uvicorn("wsproto"),
    "uwsgi": uwsgi,
    "gunicorn sync": gunicorn("sync"),
    "gunicorn gthread": gunicorn("gthread"),
    GUNICORN_GEVENT: gunicorn("gevent"),
    UNWATCHED: unwatched,
    LIMIT: limit,
}


def is_available(name):
    return name in (OURS, UNWATCHED, LIMIT) or environment.installed(name.partition(" ")[0])


@dataclass
class Running:
    pid: int
    port: int
    directory: Path
    process: subprocess.Popen

    def log_tail(self):
        return "\n".join((self.directory / "output.log").read_text(errors="replace").splitlines()[-15:])


@contextlib.contextmanager
def running(name, setup):
    """A server that answers, with all its processes gone at the end."""
    with tempfile.TemporaryDirectory(prefix="rgunicorn-bench-") as folder:
        directory = Path(folder)
        port = free_port()
        command = list(map(str, COMMANDS[name](setup, port, directory)))
        if setup.is_pinned:
            command = ["taskset", "--cpu-list", str(SERVER_CPU), *command]
        with open(directory / "output.log", "wb") as output:
            try:
                process = subprocess.Popen(command, cwd=environment.APPS, stdout=output, stderr=output)
            except OSError as error:
                raise DidNotStart(f"{name}: {error}") from error
        server = Running(process.pid, port, directory, process)
        try:
            wait_until_it_answers(name, server)
            yield server
        finally:
            stop(process)


def wait_until_it_answers(name, server):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            # One request: a server that boots slowly would also serve those that were given up, each in another worker.
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=START_SECONDS)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise DidNotStart(f"{name} did not start:\n{server.log_tail()}")


def stop(process):
    started = {pid: processes.start_time(pid) for pid in processes.tree(process.pid)}
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for pid, at in started.items():
        # Whoever did not leave; never a stranger that got the number since.
        if at is not None and processes.start_time(pid) == at:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
