"""How many candidates what is left of the budget pays, once step 1 is made.

A pilot of a few dozen configurations knows what trainings cost on the average within some ten per cent, and how much
dearer the best ones are only roughly. Step 1 has trained every trial: how dear each is, and so what the one step would
cost, is known much better, and less of the budget has to be left for caution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_suite.study.chooser import Aim
from ml_suite.study.contract import TrialResult, TrialState
from ml_suite.study.ranking import rank
from ml_suite.study.speed import Rate, Work

SAFE = 0.97
"""Part of the budget that is planned with."""

_CHEAPEST = 0.05
"""Least cost of a trial on everything as a part of the average one's."""


@dataclass(frozen=True)
class Spent:
    """What is trained so far."""

    pilot: float
    """Work of the pilot."""
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
    dear = _dear(rate, spent)
    order = [
        r.trial
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
        for r in rank(spent.first, direction, state)
        if r.trial in dear
    ]
    if not order or rate.full <= 0:
        return planned
    usual = sum(dear.values()) / len(dear)
    one_step = aim.trials * (rate.overhead + rate.full * usual)
    step1 = sum(spent.work(spent.share, r) for r in spent.first)
    free = SAFE * aim.budget * one_step - spent.pilot - step1
    number, total = 0, 0.0
    for place, trial in enumerate(order[: planned if good else len(order)], start=1):
        total += rate.overhead + rate.full * aim.epochs * dear[trial]
        if aim.trainings(place) * total / place > free:
            break
        number = place
    return max(1, number)


def _dear(rate: Rate, spent: Spent) -> dict[int, float]:
    """Cost of each trial on everything as a part of the average one's of the pilot."""
    complete = [r for r in spent.first if r.state is TrialState.COMPLETE and r.epochs]
    if not complete or spent.share * rate.full <= 0:
        return {}
    whole = sum(r.epochs or 0 for r in complete) / len(complete)
    found = {}
    for r in spent.first:
        if r.state in (TrialState.COMPLETE, TrialState.PRUNED) and r.epochs:
            # one that was cut is taken to its end
            longer = whole / r.epochs if r.state is TrialState.PRUNED else 1.0
            beyond = spent.work(spent.share, r) * max(1.0, longer) - rate.overhead
            found[r.trial] = max(_CHEAPEST, beyond / (spent.share * rate.full))
    return found
