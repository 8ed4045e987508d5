"""A pilot, whoever trains it: its parts one after the other, their names and seeds, and what is decided by them.

Its trainings have seeds and subsets of their own: what they say of step 1 must not come from the same luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ml_suite.config.hpo import Hpo, Pilot
from ml_suite.errors import StudyError
from ml_suite.quantities import format_fraction
from ml_suite.study import budget, chooser, cost, evidence, seeds, speed, trials, verdicts
from ml_suite.study.chooser import Aim, Decision, Part
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState
from ml_suite.study.speed import Rate, Work

Parts = dict[tuple[float, int], list[TrialResult]]
"""Results of a pilot by share of the data and replicate."""

Plan = TypeVar("Plan", bound=SearchPlan)

Train = Callable[[Part], list[TrialResult]]
"""Trains a part, or takes up what is recorded of it."""

_FIRST = 100
"""Replicates of the pilot are numbered from here, so that no training is one of step 1 or 2."""

_EACH = 10
"""Numbers of each size."""


@dataclass(frozen=True)
class Outcome:
    """What a pilot found."""

    subset: float
    keep: int
    parts: Parts
    decision: Decision
    rate: Rate | None
    """Work of a training."""
    spent: float
    """Work of the pilot."""


def wanted(hpo: Hpo) -> bool:
    """Whether a study asks for a pilot: by `pilot`, or by something that is `auto`."""
    return hpo.pilot is not None or not decided(hpo)


def decided(hpo: Hpo) -> bool:
    """Whether subset and keep are stated, rather than to be found by the pilot."""
    return "auto" not in (hpo.step1.subset, hpo.step2.keep)


def aim(plan: SearchPlan, hpo: Hpo, first: float) -> Aim:
    """Say what the search is to reach.

    Parameters
    ----------
    first
        Share that a pilot begins with where the subset is not stated.
    """
    aims = hpo.pilot or Pilot()
    choice = plan.choice
    return Aim(
        trials=plan.trials,
        configurations=min(aims.configurations, plan.trials),
        budget=aims.budget,
        regret=aims.regret,
        confidence=aims.confidence,
        first=first,
        subset=hpo.step1.subset if isinstance(hpo.step1.subset, float) else None,
        kept=hpo.keep_count or None,
        extra=choice.controls + choice.again(),
        finalists=choice.finalists,
        replicates=choice.replicates,
        epochs=plan.epochs["step2"] / plan.epochs["step1"],
        left=cost.epochs_left(plan.rungs, plan.epochs["step1"]),
        cuts=choice.rungs,
        length=plan.epochs["step2"],
    )


def run(plan: SearchPlan, aim: Aim, train: Train, work: Work = speed.wall) -> Outcome:
    """Train part after part until it is known which search to make.

    Parameters
    ----------
    work
        What a training has cost; it decides, so it should be the same however often the pilot is run.

    Raises
    ------
    StudyError
        If so few configurations train that what is `auto` cannot be decided, or if all is `auto` and no search is
        within the budget.
    """
    parts: Parts = {}
    while True:
        sizes, scale = evidence.gather(parts, plan.direction, (), plan.rungs, plan.choice.rungs)
        rate = speed.fitted(parts, plan.direction, plan.epochs["step1"] / plan.epochs["step2"], work)
        asked = chooser.after(sizes, aim, rate, spent(parts, work), scale)
        if isinstance(asked, Decision):
            budget.require(aim, asked.cheapest)
            return _outcome(aim, parts, asked, rate, spent(parts, work))
        parts[asked.share, asked.replicate] = train(asked)


def drawn(plan: Plan) -> Plan:
    """Return the plan by which configurations are drawn: at random for an adaptive sampler, which has seen nothing."""
    return plan.model_copy(update={"sampling": "random"}) if plan.sampling.startswith(trials.OPTUNA) else plan


def name(part: Part) -> str:
    """Folder of a part below ``pilot/``: its share of the data and its replicate.

    >>> name(Part(0.05, 1))
    '5%-1'
    """
    return f"{format_fraction(part.share)}-{part.replicate}"


def number(aim: Aim, part: Part) -> int:
    """Replicate under which the trainings of a part are recorded, so that they are never taken for others."""
    size, place = aim.subset or aim.first, 0
    while size < part.share * 0.999 and size < 1:  # how often the first share was doubled
        size, place = 2 * size, place + 1
    return _FIRST + _EACH * place + part.replicate


def seed(given: int, part: Part) -> int:
    """Seed of the subset of a part."""
    return seeds.of_training(given, _FIRST, 1 + part.replicate)


def excess(aim: Aim, outcome: Outcome) -> list[str]:
    """Say so where pilot and search will cost more than the budget."""
    return budget.planned(aim, outcome.rate, outcome.spent, outcome.subset, outcome.keep)


def words(aim: Aim, outcome: Outcome) -> str:
    """Say what was decided; empty where nothing can be said."""
    option, over = outcome.decision.option, excess(aim, outcome)
    if option is None:
        return "; ".join(over)
    doubt = "" if outcome.decision.good else "; no search within the budget is certain to be good enough"
    return "; ".join(
        [
            f"pilot: {verdicts.percent(outcome.subset)} and keeping {outcome.keep:,} of {aim.trials:,} for "
            f"{verdicts.percent(option.cost)} of one step's cost{doubt}",
            *over,
        ]
    )


def spent(parts: speed.Parts, work: Work) -> float:
    """Work of all parts."""
    return sum(work(share, r) for (share, _), results in parts.items() for r in results)


def _outcome(aim: Aim, parts: Parts, decision: Decision, rate: Rate | None, spent: float) -> Outcome:
    option = decision.option
    if option is None and None in (aim.subset, aim.kept):
        good = sum(r.state is TrialState.COMPLETE for results in parts.values() for r in results)
        total = sum(map(len, parts.values()))
        raise StudyError(
            f"the pilot cannot decide: {good} of its {total} trainings are complete, which is too few to judge by",
            "State hpo.step1.subset and hpo.step2.keep, or raise hpo.pilot.configurations or hpo.pilot.budget.",
        )
    share = aim.subset or (option.share if option else aim.first)
    keep = aim.kept or (option.kept if option else 1)
    return Outcome(share, keep, parts, decision, rate, spent)
