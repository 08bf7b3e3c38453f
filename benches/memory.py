"""Memory of preloaded workers: right after boot, and after requests have touched (and so copied) their pages."""

import time
from pathlib import Path

import processes
from load import Load

BOOT_SECONDS = 10
SETTLE_SECONDS = 1
# The kernel looks at each page twice before it merges it, and at 5,000 in a second unless told otherwise.
MERGE_SECONDS = 30
MERGING = Path("/sys/kernel/mm/ksm/run")


def is_not_merged():
    """Why the kernel merges nothing; None when it does."""
    if not MERGING.exists():
        return "this kernel has no KSM"
    if MERGING.read_text().strip() != "1":
        return f"this host does not merge memory: `echo 1 > {MERGING}` as root, and 0 when all is measured"
    return None


def preloaded(server, setup, options):
    settle_seconds = MERGE_SECONDS if setup.merge_memory else SETTLE_SECONDS
    deadline = time.monotonic() + BOOT_SECONDS
    while len(processes.leaves(server.pid)) < setup.workers and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(settle_seconds)
    boot = processes.pss_mib(server.pid)

    # The load ends at the number of requests; the time is only its bound.
    load = Load(connections=16)
    found = load.run(server, 60, False, BENCH_REQUESTS=str(options.requests), BENCH_PATHS="/ /django")
    time.sleep(settle_seconds)
    used = processes.pss_mib(server.pid)
    return {"PSS boot MiB": boot, "PSS used MiB": used, "requests": found["requests"], "errors": found["errors"]}
