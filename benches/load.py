"""Load from wrk, on loopback, for a bounded time."""

import os
import subprocess
from dataclasses import dataclass

import environment
import processes
from servers import CLIENT_CPU

WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Load:
    connections: int = 64
    path: str = "/"
    # Each request on a new connection.
    close: bool = False
    # Bytes to post; 0 means GET.
    post: int = 0

    def start(self, server, seconds, is_pinned, **environ):
        pin = ["taskset", "--cpu-list", str(CLIENT_CPU)] if is_pinned else []
        # wrk drops a header without the space after its colon, silently.
        close = ["-H", "Connection: close"] if self.close else []
        script = ["--script", str(environment.BENCHES / "load.lua")]
        size = ["--threads", "1", "--connections", str(self.connections), "--duration", f"{seconds}s", "--timeout", "10s"]
        if self.post:
            environ["BENCH_POST"] = str(self.post)
        url = f"http://127.0.0.1:{server.port}{self.path}"
        command = [*pin, "wrk", "--latency", *size, *script, *close, url]
        return subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True)

    def run(self, server, seconds, is_pinned, **environ):
        return finish(self.start(server, seconds, is_pinned, **environ), seconds)


def finish(wrk, seconds):
    """What a run of wrk found out."""
    try:
        output, _ = wrk.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        wrk.kill()
        wrk.wait()
        raise
    for line in output.splitlines():
        if line.startswith("REPORT "):
            requests, microseconds, p50, p99, errors, refusals = map(int, line.split()[1:])
            return {
                "requests": requests,
                "rps": requests / (microseconds / 1e6),
                "p50": p50 / 1000,
                "p99": p99 / 1000,
                "errors": errors + refusals,
            }
    raise RuntimeError(f"wrk said nothing:\n{output}")


def steady(server, setup, load, seconds):
    """Requests per second, latency, and CPU microseconds per request of all processes of the server."""
    load.run(server, WARM_UP_SECONDS, setup.is_pinned)
    before = processes.cpu_seconds(server.pid)
    found = load.run(server, seconds, setup.is_pinned)
    spent = processes.cpu_seconds(server.pid) - before
    return found | {"us": spent * 1e6 / max(found["requests"], 1)}
