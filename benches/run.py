#!/usr/bin/env python3
"""Compares rgunicorn with its peers and judges each figure against its goal: `python3 benches/run.py`.

Needs Python, cargo and (for bjoern) a C compiler; makes a virtualenv with the peers in target/bench-venv-* by itself. All
runs on the Python that runs this: `python3.13 benches/run.py --only asgi` shows what eager tasks bring.
Every server runs in every round, one after the other; the table shows medians over the rounds. Loopback only.
"""

import argparse
import signal
import subprocess
import sys
from statistics import median

import environment
import servers
from rows import ROWS

COLUMNS = {
    "rps": ("requests/s", "{:,.0f}"),
    "us": ("CPU us/request", "{:.1f}"),
    "p50": ("p50 ms", "{:.2f}"),
    "p99": ("p99 ms", "{:.2f}"),
    "errors": ("errors", "{:.0f}"),
}
# Shown by no table: what other columns are made from.
HIDDEN = {"most"}


def main():
    options = arguments()
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    # So that servers are stopped when the bench is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    environment.prepare(build=not options.no_build)
    print(environment.describe())
    missed = 0
    for row in rows:
        print(f"\n## {row.name}: {row.title}\n", flush=True)
        if obstacle := row.obstacle():
            print(f"not measured: {obstacle}", flush=True)
            continue
        rounds = [one_round(row, options) for _ in range(1 if row.once else options.rounds)]
        print_table(row, rounds)
        missed += print_judgement(row, rounds)
    print(f"\n{missed} goals missed" if missed else "\nall goals reached")
    return 1 if missed else 0


def arguments():
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"rows: {', '.join(names)}")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="ROW,…")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[], metavar="NAME,…", help="besides rgunicorn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of load for each server in a round")
    parser.add_argument("--quick", action="store_true", help="one short round: does everything run?")
    parser.add_argument("--no-build", action="store_true", help="take target/release as it is")
    options = parser.parse_args()
    if unknown := set(options.only) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    options.requests, options.reload_seconds = 20_000, 60
    if options.quick:
        options.rounds, options.seconds, options.requests, options.reload_seconds = 1, 1, 2_000, 10
    return options


def one_round(row, options):
    found = {}
    for name in row.servers:
        is_chosen = not options.peers or name in options.peers or name == servers.OURS
        if not is_chosen or not servers.is_available(name):
            continue
        try:
            with servers.running(name, row.setup) as server:
                found[name] = row.measure(server, row.setup, options)
        except (servers.DidNotStart, RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    return found


def print_table(row, rounds):
    names = [name for name in row.servers if any(name in one for one in rounds)]
    metrics = [metric for metric in first(rounds, names[0]) if metric not in HIDDEN] if names else []
    if "rps" in metrics:
        metrics = [metric for metric in COLUMNS if metric in metrics] + [m for m in metrics if m not in (*COLUMNS, "requests")]
    print("| server |" + "".join(f" {COLUMNS.get(metric, (metric,))[0]} |" for metric in metrics))
    print("|---|" + "---:|" * len(metrics))
    for name in names:
        print(f"| {name} |" + "".join(f" {cell(rounds, name, metric)} |" for metric in metrics))
    print(flush=True)


def first(rounds, name):
    return next(one[name] for one in rounds if name in one)


def cell(rounds, name, metric):
    values = [one[name][metric] for one in rounds if name in one]
    if isinstance(values[0], str):
        return " ".join(values)
    form = COLUMNS.get(metric, (metric, "{:,.1f}" if isinstance(values[0], float) else "{:,.0f}"))[1]
    return form.format(median(values))


def print_judgement(row, rounds):
    """Prints a line for each goal, with its figure in every round, and returns how many were not reached."""
    missed = 0
    for goal in row.goals:
        figures, is_reached = goal.judge(rounds)
        missed += not is_reached
        found = f"{median(figures):.2f}  ({' '.join(f'{figure:.2f}' for figure in figures)})" if figures else "not measured"
        print(f"{'ok    ' if is_reached else 'MISSED'}  {goal.text}: {found}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
