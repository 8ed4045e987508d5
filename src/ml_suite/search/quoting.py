"""What a study will cost on this machine, before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from ml_suite.errors import StudyError
from ml_suite.quantities import fraction
from ml_suite.search import effort, pilot
from ml_suite.search.freeze import Frozen
from ml_suite.study import budget, chooser, cost, record, regret, speed, verdicts
from ml_suite.study.chooser import Aim
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState


def extent(plan: SearchPlan) -> cost.Extent:
    """How much a study trains."""
    choice = plan.choice
    candidates = plan.keep if choice.narrow is None else choice.narrow + 1
    return cost.Extent(
        trials=plan.trials,
        subset=plan.subset,
        kept=candidates + choice.controls,
        again=choice.again(),
        epochs1=plan.epochs["step1"],
        epochs2=plan.epochs["step2"],
        rungs=plan.rungs,
        cuts=choice.rungs,
        controls=choice.controls,
    )


def quote(frozen: Frozen, results: Sequence[TrialResult] = ()) -> cost.Quote:
    """Say what the study will cost.

    Parameters
    ----------
    results
        What is trained already; better than an estimate.

    Raises
    ------
    StudyError
        If nothing is known of a program's speed.
    """
    plan = frozen.plan
    rate = measured(plan, results) or _piloted(frozen) or effort.estimated(plan)
    if rate is None:
        raise StudyError(
            "how long a program takes is known when it has trained something",
            "Run the study for a minute, stop it with Ctrl-C, and ask again.",
        )
    if not pilot.wanted(frozen):
        return cost.quote(extent(plan), rate)
    aim = pilot.aims(frozen)
    if not frozen.decided:
        return _between(aim, rate)
    made = cost.quote(extent(plan), rate, _pilot(aim, rate))
    least = made.seconds if made.least_seconds is None else made.least_seconds
    return made.model_copy(update={"remark": _remark(aim, least / made.one_step_seconds)})


def _pilot(aim: Aim, rate: speed.Rate) -> list[cost.Line]:
    """Return the pilot of a stated search: its small trainings, and as many on everything as there may be room for."""
    small = cost.Line(part="pilot", trainings=budget.trainings(aim), seconds=budget.pilot(aim, rate))
    count = chooser.affordable(aim, rate, small.seconds, aim.subset or aim.first)
    if count < regret.LEAST:
        return [small]
    # they are chosen by the pilot, so nobody knows how long they take, nor whether there will be room
    seconds = count * (rate.full * aim.epochs + rate.overhead)
    return [small, cost.Line(part="anchors", trainings=count, seconds=seconds, least=0.0)]


def _between(aim: Aim, rate: speed.Rate) -> cost.Quote:
    """Quote a search that the pilot chooses: from the cheapest one to the budget."""
    one_step = chooser.one_step(aim, rate)
    share = budget.least(aim, rate)
    least = share * one_step
    most = max(least, aim.budget * one_step)
    line = cost.Line(
        part="pilot, step1 and step2",
        trainings=budget.trainings(aim) + aim.trials + (aim.kept or 1) + aim.extra,
        seconds=most,
        least=least,
    )
    made = cost.quoted([line], one_step, rate)
    return made.model_copy(update={"remark": _remark(aim, share)})


def _remark(aim: Aim, least: float) -> str:
    """Say so where even the least that a study may cost is more than its budget."""
    if least <= aim.budget:
        return ""
    return f"the budget of {verdicts.percent(aim.budget)} is too small: {verdicts.upward(least)} at least"


def _piloted(frozen: Frozen) -> speed.Rate | None:
    """Speed as the trainings of a pilot tell it; None before there is enough of it."""
    plan, parts = frozen.plan, {}
    for folder in {path.parent for path in (frozen.folder.root / "pilot").glob("*/*.jsonl")}:
        share, replicate = folder.name.rsplit("-", 1)
        parts[fraction(share), int(replicate)] = record.merge(folder.glob("*.jsonl"), plan.study)
    return speed.fitted(parts, plan.direction, plan.epochs["step1"] / plan.epochs["step2"])


def measured(plan: SearchPlan, results: Sequence[TrialResult]) -> speed.Rate | None:
    """Speed as the trainings of both steps tell it; None before there is a complete one in step 1."""
    complete = [r for r in results if r.state is TrialState.COMPLETE and r.epochs != 0]
    first = [r for r in complete if r.step == 1]
    if not first:
        return None
    whole = plan.epochs["step1"]
    # candidates are not the average trial: only their ratio to the same trials in step 1 is used
    pairs = {r.trial: r for r in complete if r.step == 2 and not r.replicate}
    mean = sum(_of_epochs(r, whole) for r in first) / len(first)
    both = [(_of_epochs(r, whole), _of_epochs(pairs[r.trial], whole)) for r in first if r.trial in pairs]
    if len(both) >= 3 and plan.subset < 1:
        ratio = sum(b for _, b in both) / sum(a for a, _ in both)
        return speed.rate([plan.subset, 1.0], [mean, mean * ratio])
    overhead = min(speed.OVERHEAD.get(plan.trainer, 0.0), mean)
    return speed.Rate(overhead, (mean - overhead) / plan.subset)


def _of_epochs(result: TrialResult, epochs: int) -> float:
    """Seconds that a training would have taken for so many epochs."""
    return result.seconds * epochs / (result.epochs or epochs)
