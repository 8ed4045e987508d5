"""What pilot and search cost against what they may: told where it is more, refused where the pilot decides all."""

from __future__ import annotations

from ml_suite.errors import StudyError
from ml_suite.study import chooser, verdicts
from ml_suite.study.chooser import Aim
from ml_suite.study.cost import Cost
from ml_suite.study.speed import Rate

ROUGH = 1.5
"""How far beyond the budget an estimate has to be to be believed before anything is trained."""


def least(aim: Aim, rate: Rate) -> float:
    """Cost of the smallest pilot and the cheapest search, as a part of the one step's."""
    return chooser.price(aim, rate, pilot(aim, rate), aim.subset or aim.first, aim.kept or 1)


def pilot(aim: Aim, rate: Rate) -> float:
    """Work of the smallest pilot: all configurations twice at its first share and once at twice that."""
    share = aim.subset or aim.first
    twice = 2 * share * rate.full + rate.overhead if 2 * share <= 1 else 0.0
    return aim.configurations * (2 * (share * rate.full + rate.overhead) + twice)


def trainings(aim: Aim) -> int:
    """How many trainings that are."""
    return aim.configurations * (3 if 2 * (aim.subset or aim.first) <= 1 else 2)


def require_hope(aim: Aim, estimated: Rate | None) -> None:
    """Refuse a pilot that is to decide everything within a budget that is far too small for it.

    Parameters
    ----------
    estimated
        Before anything is trained; None: nothing is known.

    Raises
    ------
    StudyError
        That names the least budget that would do.
    """
    if estimated is not None and (cost := least(aim, estimated)) > ROUGH * aim.budget:
        require(aim, cost / chooser.SAFE, "about ")


def require(aim: Aim, cheapest: float | None, rough: str = "") -> None:
    """Refuse a budget that no search is within, where subset and number of candidates are left to the pilot.

    Parameters
    ----------
    cheapest
        Cost of the cheapest search as a part of the one step's, its pilot included.

    Raises
    ------
    StudyError
        That names the least budget that would do.
    """
    if cheapest is None or cheapest <= aim.budget or not (aim.subset is None and aim.kept is None):
        return
    need = verdicts.upward(cheapest)
    most = verdicts.percent(aim.budget)
    if cheapest <= 1:
        stated = need.replace(" ", "")
        cure = f"Write budget: {stated} in hpo.pilot, the least that would do, or raise hpo.step1.trials."
    else:
        cure = (
            "No budget would do. Raise hpo.step1.trials, lower hpo.pilot.configurations, or state hpo.step1.subset and "
            "hpo.step2.keep."
        )
    raise StudyError(
        f"the budget is too small: pilot and cheapest search cost {rough}{need} of training every trial on everything, "
        f"hpo.pilot.budget is {most}",
        cure,
    )


def planned(aim: Aim, rate: Rate | None, spent: float, share: float, kept: int) -> list[str]:
    """Say so where a pilot and the search that follows from it will cost more than they may.

    Parameters
    ----------
    rate
        Work of a training as the pilot tells it.
    spent
        Work of the pilot.
    """
    if rate is None:
        return []
    cost = chooser.price(aim, rate, spent, share, kept)
    if cost <= aim.budget:
        return []
    alone = chooser.part(aim, rate, spent)
    return [
        f"pilot and search will cost {_above(cost, aim.budget)}, the pilot alone {verdicts.percent(alone)}"
    ]


def overspent(budget: float, spent: Cost | None) -> list[str]:
    """Say so where pilot and search have cost more than they may."""
    if spent is None or spent.share is None or spent.share <= budget:
        return []
    return [f"pilot and search have cost {_above(spent.share, budget)}"]


def _above(cost: float, budget: float) -> str:
    stated = verdicts.percent(budget)
    for digits in range(6):
        if (text := verdicts.upward(cost, digits)) != stated:
            break
    return f"{text} of training every trial on everything, more than the budget of {stated}"
