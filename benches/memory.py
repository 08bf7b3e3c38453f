"""Memory of preloaded workers: right after boot, and after requests have touched (and so copied) their pages."""

import time

import processes
from load import Load

BOOT_SECONDS = 10
SETTLE_SECONDS = 1


def preloaded(server, setup, options):
    deadline = time.monotonic() + BOOT_SECONDS
    while len(processes.leaves(server.pid)) < setup.workers and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(SETTLE_SECONDS)
    boot = processes.pss_mib(server.pid)

    # The load ends at the number of requests; the time is only its bound.
    load = Load(connections=16)
    found = load.run(server, 60, False, BENCH_REQUESTS=str(options.requests), BENCH_PATHS="/ /django")
    time.sleep(SETTLE_SECONDS)
    used = processes.pss_mib(server.pid)
    return {"PSS boot MiB": boot, "PSS used MiB": used, "requests": found["requests"], "errors": found["errors"]}
