"""What /proc says about a server: its processes, their CPU time, memory and connections."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
ESTABLISHED = "01"


def tree(root):
    """The process ids of `root` and all that descend from it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def leaves(root):
    """The processes of the tree that have no children: the workers."""
    pids = tree(root)
    parents = {int(fields[1]) for pid in pids if (fields := stat(pid))}
    return [pid for pid in pids if pid not in parents]


def stat(pid):
    """The fields of /proc/pid/stat from the state on (field 3 of proc(5)); None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def start_time(pid):
    """Tells a process from a later one with the same number."""
    fields = stat(pid)
    return fields and fields[19]


def cpu_seconds(root):
    """User and system time of the tree, with that of children that were waited for."""
    return sum(sum(map(int, fields[11:15])) for pid in tree(root) if (fields := stat(pid))) / TICKS


def cpu_microseconds(root):
    """Of all threads that are still there, exactly: for what takes less than a tick."""
    schedules = [path for pid in tree(root) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in schedules) / 1000


def pss_mib(root, kind="Pss"):
    """Proportional set size of the tree in MiB: shared pages are split among those that share them. `Pss_Anon`: without files."""
    kib = 0
    for pid in tree(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                kib += int(line.split()[1])
    return kib / 1024


def connections(root, port):
    """How many established connections to `port` each worker holds, the most first."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == ESTABLISHED and int(row[1].partition(":")[2], 16) == port}
    counts = []
    for pid in leaves(root):
        links = Path(f"/proc/{pid}/fd").iterdir()
        counts.append(sum(read_link(link) in inodes for link in links))
    return sorted(counts, reverse=True)


def read_link(path):
    try:
        return os.readlink(path)
    except OSError:
        return None
