"""Run the pilot of a study on this machine: what the certificate rests on, and what decides `auto`.

Each part is a stage of its own below ``pilot/``, named by its share of the data and its replicate (``pilot/5%-0``), so
a pilot that is killed goes on where it was. Its trainings have seeds and subsets of their own: what they say of step 1
must not come from the same luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.config.hpo import Pilot
from ml_suite.errors import StudyError
from ml_suite.quantities import format_fraction
from ml_suite.search import freeze, samples
from ml_suite.search.freeze import Frozen
from ml_suite.study import chooser, cost, evidence, seeds, subset, trials, verdicts
from ml_suite.study.arrays import ArrayPlan, Members
from ml_suite.study.chooser import Aim, Decision, Part
from ml_suite.study.contract import TrialResult, TrialState
from ml_suite.study.cost import Rate
from ml_suite.study.stage import Stage, Task

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

Run = Callable[..., list[TrialResult]]
"""`run_stage` with all that is the same for the stages of a study."""

Say = Callable[[str], None]

_FIRST = 100
"""Replicates of the pilot are numbered from here, so that no training is one of step 1 or 2."""

_EACH = 10
"""Numbers of each size."""


@dataclass(frozen=True)
class Outcome:
    """What a pilot found."""

    subset: float
    keep: int
    parts: dict[tuple[float, int], list[TrialResult]]
    """Its results by share and replicate."""
    decision: Decision
    rate: Rate | None
    """Seconds of a training."""


def wanted(frozen: Frozen) -> bool:
    """Whether the study asks for a pilot: by `pilot`, or by something that is `auto`."""
    return frozen.file.hpo.pilot is not None or not frozen.decided


def run_pilot(frozen: Frozen, work: Run, say: Say = lambda text: None) -> Outcome:
    """Train the pilot, or take up what is recorded of it, and decide what is `auto`.

    Parameters
    ----------
    work
        `ml_suite.search.stages.run_stage` with workers, stop, progress and environment.

    Raises
    ------
    StudyError
        If so few configurations train that nothing can be decided.
    Stopped
        If told to stop.
    """
    aim = _aim(frozen)
    plan = _prepared(frozen)
    parts: dict[tuple[float, int], list[TrialResult]] = {}
    while True:
        sizes, scale = evidence.gather(parts, plan.direction)
        rate = cost.fitted(parts, plan.direction, plan.epochs["step1"] / plan.epochs["step2"])
        asked = chooser.after(sizes, aim, rate, _seconds(parts), scale)
        if isinstance(asked, Decision):
            return _outcome(frozen, aim, parts, asked, rate, say)
        parts[asked.share, asked.replicate] = _train(frozen, plan, aim, asked, work)


def _aim(frozen: Frozen) -> Aim:
    hpo, plan = frozen.file.hpo, frozen.plan
    aims = hpo.pilot or Pilot()
    choice = plan.choice
    again = choice.finalists * (choice.replicates - 1)
    stated = hpo.step1.subset if isinstance(hpo.step1.subset, float) else None
    return Aim(
        trials=plan.trials,
        configurations=min(aims.configurations, plan.trials),
        budget=aims.budget,
        regret=aims.regret,
        confidence=aims.confidence,
        first=chooser.first_share(len(frozen.parts.training), freeze.batch(frozen.file, max)),
        subset=stated,
        kept=hpo.keep_count or None,
        extra=choice.controls + again,
        finalists=choice.finalists,
        replicates=choice.replicates,
        epochs=plan.epochs["step2"] / plan.epochs["step1"],
        left=cost.epochs_left(plan.rungs, plan.epochs["step1"]),
    )


def _prepared(frozen: Frozen) -> ArrayPlan:
    """Write what workers read beside the subset, and draw configurations of an adaptive sampler at random."""
    folder, plan = frozen.folder, frozen.plan
    kinds = (("training", frozen.parts.training), ("validation", frozen.parts.validation))
    for name, numbers in kinds:
        samples.save(folder.members / f"{name}.npy", numbers)
    if plan.normalisation != "none":
        samples.normalise(folder.normalisation, frozen.x, frozen.parts.training)
    if plan.sampling.startswith(trials.OPTUNA):
        return plan.model_copy(update={"sampling": "random"})
    return plan


def _train(frozen: Frozen, plan: ArrayPlan, aim: Aim, part: Part, work: Run) -> list[TrialResult]:
    """Run one part as a stage."""
    full = part.share == 1.0
    name = f"{format_fraction(part.share)}-{part.replicate}"
    numbers = _numbers(frozen, part)
    key = "training" if full else f"pilot-{name}"
    if not full:
        samples.save(frozen.folder.members / f"{key}.npy", numbers)
        of = Members(count=len(numbers), sha256=subset.digest(numbers), path=_relative(frozen, key))
        plan = plan.model_copy(update={"members": {**plan.members, key: of}})
    hpo = frozen.file.hpo
    # what is trained on everything is trained like a candidate
    given = (hpo.step2 if full else hpo.step1).patience or frozen.file.training.patience
    steps, epochs = freeze.patience_of(frozen.file, given, len(numbers)) if given else (None, None)
    stage = Stage(
        name=f"pilot/{name}",
        step=1,
        members=key,
        epochs=plan.epochs["step2" if full else "step1"],
        patience=steps,
        patience_epochs=epochs,
        precision=plan.precision["step2" if full else "step1"],
    )
    number = _FIRST + _EACH * _place(aim, part.share) + part.replicate
    chosen = part.trials if part.trials is not None else range(aim.configurations)
    tasks = [Task(trial, trials.parameters(plan, trial), number) for trial in chosen]
    return work(plan, frozen.folder.root, stage, tasks)


def _place(aim: Aim, share: float) -> int:
    """Number of a size: how often the first one was doubled."""
    size, place = aim.subset or aim.first, 0
    while size < share * 0.999 and size < 1:
        size, place = 2 * size, place + 1
    return place


def _numbers(frozen: Frozen, part: Part) -> NDArray[int64]:
    training = frozen.parts.training
    if part.share == 1.0:
        return training
    seed = seeds.of_training(frozen.file.data.seed, _FIRST, 1 + part.replicate)
    return subset.subset(training, part.share, seed)


def _relative(frozen: Frozen, key: str) -> Path:
    return (frozen.folder.members / f"{key}.npy").relative_to(frozen.folder.root)


def _seconds(parts: dict[tuple[float, int], list[TrialResult]]) -> float:
    return sum(r.seconds for results in parts.values() for r in results)


def _outcome(
    frozen: Frozen,
    aim: Aim,
    parts: dict[tuple[float, int], list[TrialResult]],
    decision: Decision,
    rate: Rate | None,
    say: Say,
) -> Outcome:
    option = decision.option
    if option is None and not frozen.decided:
        good = sum(r.state is TrialState.COMPLETE for results in parts.values() for r in results)
        total = sum(map(len, parts.values()))
        raise StudyError(
            f"the pilot cannot decide: {good} of its {total} trainings are complete, which is too few to judge by",
            "State hpo.step1.subset and hpo.step2.keep, or raise hpo.pilot.configurations or hpo.pilot.budget.",
        )
    share = aim.subset or (option.share if option else aim.first)
    keep = aim.kept or (option.kept if option else 1)
    if option is not None:
        say(
            f"pilot: {verdicts.percent(share)} and keeping {keep:,} of {aim.trials:,} for "
            f"{verdicts.percent(option.cost)} of one step's cost"
            + ("" if decision.good else "; no search within the budget is certain to be good enough")
        )
    return Outcome(share, keep, parts, decision, rate)
