"""What a study will cost on this machine, before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from ml_suite.config.hpo import Pilot
from ml_suite.errors import StudyError
from ml_suite.search import effort
from ml_suite.search.freeze import Frozen
from ml_suite.study import cost, speed
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState


def extent(plan: SearchPlan) -> cost.Extent:
    """How much a study trains."""
    choice = plan.choice
    candidates = plan.keep if choice.narrow is None else choice.narrow + 1
    return cost.Extent(
        trials=plan.trials,
        subset=plan.subset,
        kept=candidates + choice.controls,
        again=choice.finalists * (choice.replicates - 1),
        epochs1=plan.epochs["step1"],
        epochs2=plan.epochs["step2"],
        rungs=plan.rungs,
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
    rate = measured(plan, results) or effort.estimated(plan)
    if rate is None:
        raise StudyError(
            "how long a program takes is known when it has trained something",
            "Run the study for a minute, stop it with Ctrl-C, and ask again.",
        )
    made = cost.quote(extent(plan), rate)
    pilot = frozen.file.hpo.pilot
    if pilot is None:
        return made if frozen.decided else _at_most(made, Pilot())
    return _at_most(made, pilot) if not frozen.decided else _with_pilot(plan, rate, pilot)


def _with_pilot(plan: ArrayPlan, rate: speed.Rate, pilot: Pilot) -> cost.Quote:
    """Add a pilot: each configuration twice at the subset and once at twice its size."""
    seconds = pilot.configurations * (4 * plan.subset * rate.full + 3 * rate.overhead)
    line = cost.Line(part="pilot", trainings=3 * pilot.configurations, seconds=seconds)
    return cost.quote(extent(plan), rate, line)


def _at_most(made: cost.Quote, pilot: Pilot) -> cost.Quote:
    """Return the budget, where the pilot decides how it is spent."""
    most = pilot.budget * made.one_step_seconds
    line = cost.Line(part="pilot, step1 and step2, at most", trainings=made.lines[0].trainings, seconds=most)
    return made.model_copy(update={"lines": [line], "seconds": most, "share": pilot.budget})


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
