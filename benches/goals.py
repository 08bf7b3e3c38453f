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
        """The median figure and whether it reaches the goal; None when nothing was measured."""
        figures = [figure for one in rounds if (figure := self.figure(one)) is not None]
        return (median(figures), self.reached(median(figures))) if figures else None


def at_least(metric, bound):
    return Goal(f"{metric} at least {bound:g}", lambda one: value(one, OURS, metric), lambda found: found >= bound)


def at_most(metric, bound):
    return Goal(f"{metric} at most {bound:g}", lambda one: value(one, OURS, metric), lambda found: found <= bound)


def ratio_at_least(metric, factor, peer=None):
    text = f"{metric} at least {factor:g} x {peer or 'the best peer'}"
    return Goal(text, lambda one: ratio(one, metric, peer, max), lambda found: found >= factor)


def ratio_at_most(metric, factor, peer=None):
    """`peer=None` is the peer that is best in this metric, which may be another one in each round."""
    text = f"{metric} at most {factor:g} x {peer or 'the best peer'}"
    return Goal(text, lambda one: ratio(one, metric, peer, min), lambda found: found <= factor)


def ratio(one, metric, peer, best):
    ours = value(one, OURS, metric)
    peers = [peer] if peer else [name for name in one if name not in (OURS, LIMIT)]
    theirs = [found for name in peers if (found := value(one, name, metric)) is not None]
    return ours / best(theirs) if ours is not None and theirs and best(theirs) else None


def value(one, name, metric):
    return one.get(name, {}).get(metric)
