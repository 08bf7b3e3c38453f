"""What a row must show, judged from its rounds. A round is {server: {metric: value}}; ratios are taken within a round,
because the machine differs more between rounds than servers differ within one."""

from dataclasses import dataclass
from statistics import median
from typing import Callable

from servers import LIMIT, OURS


@dataclass(frozen=True)
class Goal:
    text: str
    # Our figure in one round, or None when a server that it needs did not run.
    figure: Callable[[dict], float | None]
    reached: Callable[[float], bool]

    def judge(self, rounds):
        """Our figure in each round, and whether their median reaches the goal."""
        figures = [figure for one in rounds if (figure := self.figure(one)) is not None]
        return figures, bool(figures) and self.reached(median(figures))


def at_least(metric, bound):
    return Goal(f"{metric} at least {bound:g}", lambda one: value(one, OURS, metric), lambda found: found >= bound)


def at_most(metric, bound):
    return Goal(f"{metric} at most {bound:g}", lambda one: value(one, OURS, metric), lambda found: found <= bound)


def ratio_at_least(metric, factor, peer=None):
    text = f"{metric} at least {factor:g} x {peer or 'the best peer'}"
    return Goal(text, lambda one: ratio(one, metric, peer), lambda found: found >= factor)


def ratio_at_most(metric, factor, peer=None):
    text = f"{metric} at most {factor:g} x {peer or 'the best peer'}"
    return Goal(text, lambda one: ratio(one, metric, peer), lambda found: found <= factor)


def ratio(one, metric, peer):
    ours, theirs = value(one, OURS, metric), value(one, peer or best_peer(one), metric)
    return ours / theirs if ours is not None and theirs else None


def best_peer(one):
    """The one with the most requests per second in this round, which may be another one in the next."""
    peers = [name for name in one if name not in (OURS, LIMIT)]
    return max(peers, key=lambda name: one[name]["rps"], default=None)


def value(one, name, metric):
    return one.get(name, {}).get(metric)
