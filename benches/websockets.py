"""WebSockets: echoes from connections that are never silent, and the memory of those that always are."""

import subprocess
import time

import environment
import load
import processes
from servers import CLIENT_CPU

ECHOING = 64
IDLE = 10_000
SETTLE_SECONDS = 2


def echo(server, setup, options):
    """Messages per second, latency, and CPU microseconds per message of all processes of the server."""
    run(server, setup, load.WARM_UP_SECONDS)
    before = processes.cpu_seconds(server.pid)
    found = run(server, setup, options.seconds)
    spent = processes.cpu_seconds(server.pid) - before
    return found | {"us": spent * 1e6 / max(found["requests"], 1)}


def run(server, setup, seconds):
    client = start(server, setup, "echo", ECHOING, seconds)
    output, _ = client.communicate(timeout=seconds + 30)
    if client.returncode != 0:
        raise RuntimeError("the WebSocket clients failed")
    messages, microseconds, p50, p99, errors = map(int, output.split()[1:])
    rate = messages / (microseconds / 1e6)
    return {"requests": messages, "rps": rate, "p50": p50 / 1000, "p99": p99 / 1000, "errors": errors}


def idle(server, setup, options):
    """KiB of memory (PSS) that one more WebSocket costs all processes of the server together."""
    time.sleep(SETTLE_SECONDS)
    before = processes.pss_mib(server.pid)
    begin = time.monotonic()
    client = start(server, setup, "idle", IDLE)
    try:
        said = client.stdout.readline()
        if said != f"OPEN {IDLE}\n":
            raise RuntimeError(f"not all WebSockets were opened: {said}")
        opened = time.monotonic() - begin
        time.sleep(SETTLE_SECONDS)
        after = processes.pss_mib(server.pid)
    finally:
        client.kill()
        client.wait()
    return {"PSS before MiB": before, "PSS after MiB": after, "KiB each": (after - before) * 1024 / IDLE, "opened in s": opened}


def start(server, setup, *arguments):
    program = environment.TARGET / "release" / "examples" / "websocket"
    pin = ["taskset", "--cpu-list", str(CLIENT_CPU)] if setup.is_pinned else []
    command = [*pin, program, f"127.0.0.1:{server.port}", *arguments]
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
