"""How many candidates what is left of the budget pays, once step 1 is made.

A pilot of a few dozen configurations knows what trainings cost on the average within some ten per cent, and how much
dearer the best ones are only roughly. Step 1 has trained every trial: how dear each is, and so what the one step would
cost, is known much better, and less of the budget has to be left for caution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_suite.study import piloting
from ml_suite.study.chooser import Aim
from ml_suite.study.contract import TrialResult, TrialState
from ml_suite.study.ranking import rank
from ml_suite.study.speed import Parts, Rate, Work

SAFE = 0.94
"""Part of the budget that is planned with: how dear the finalists will be is not known yet."""

_PAIRS = 4
"""Trials of which the cost is known both in the small and on everything, from which that of others follows."""


@dataclass(frozen=True)
class Spent:
    """What is trained so far."""

    parts: Parts
    """Results of the pilot."""
    share: float
    """Of the data, in step 1."""
    first: Sequence[TrialResult]
    """Results of step 1, cut ones included."""
    work: Work


def kept(aim: Aim, rate: Rate, spent: Spent, planned: int, good: bool, direction: str) -> int:
    """Return the number of candidates.

    Parameters
    ----------
    planned
        By the pilot.
    good
        Its search is good enough: then no more candidates are trained than planned, for what is left is saved.

    Returns
    -------
    int
        One at least.
    """
    costs = _costs(aim, rate, spent)
    order = [
        r.trial
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
        for r in rank(spent.first, direction, state)
        if r.trial in costs
    ]
    if not order:
        return planned
    one_step = aim.trials * sum(costs.values()) / len(costs) / aim.epochs
    pilot = piloting.spent(spent.parts, spent.work)
    step1 = sum(spent.work(spent.share, r) for r in spent.first)
    free = SAFE * aim.budget * one_step - pilot - step1
    number, total = 0, 0.0
    for place, trial in enumerate(order[: planned if good else len(order)], start=1):
        total += costs[trial]
        if aim.trainings(place) * total / place > free:
            break
        number = place
    return max(1, number)


def _costs(aim: Aim, rate: Rate, spent: Spent) -> dict[int, float]:
    """Cost of each trial as a candidate."""
    complete = [r for r in spent.first if r.state is TrialState.COMPLETE and r.epochs]
    if not complete:
        return {}
    whole = sum(r.epochs or 0 for r in complete) / len(complete)
    small = {}
    for r in spent.first:
        if r.state in (TrialState.COMPLETE, TrialState.PRUNED) and r.epochs:
            # one that was cut is taken to its end
            longer = whole / r.epochs if r.state is TrialState.PRUNED else 1.0
            small[r.trial] = spent.work(spent.share, r) * max(1.0, longer)
    start, slope = _line(rate, aim, spent, sum(small.values()) / len(small))
    return {trial: max(0.0, start + slope * work) for trial, work in small.items()}


def _line(rate: Rate, aim: Aim, spent: Spent, mean: float) -> tuple[float, float]:
    """Cost on everything by that in the small: as the anchors have it, else in proportion."""
    known = {
        r.trial: spent.work(spent.share, r) for r in spent.parts.get((spent.share, 0), ()) if _trained(r)
    }
    full = {r.trial: spent.work(1.0, r) for r in spent.parts.get((1.0, 0), ()) if _trained(r)}
    both = [(known[trial], cost) for trial, cost in full.items() if trial in known]
    usual = rate.overhead + rate.full * aim.epochs
    if len(both) < _PAIRS:
        return 0.0, usual / mean if mean > 0 else 0.0
    x, y = (sum(values) / len(both) for values in zip(*both, strict=True))
    across = sum((a - x) ** 2 for a, _ in both)
    slope = max(0.0, sum((a - x) * (b - y) for a, b in both) / across) if across > 0 else 0.0
    return y - slope * x, slope


def _trained(result: TrialResult) -> bool:
    return result.state is TrialState.COMPLETE
