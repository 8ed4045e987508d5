"""Run the pilot of a study on this machine: what the certificate rests on, and what decides `auto`.

Each part is a stage of its own below ``pilot/``, named by its share of the data and its replicate (``pilot/5%-0``), so
a pilot that is killed goes on where it was. What is the same wherever a pilot runs is in `ml_suite.study.piloting`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.search import effort, freeze, samples
from ml_suite.search.freeze import Frozen
from ml_suite.study import budget, chooser, piloting, speed, subset, trials
from ml_suite.study.arrays import ArrayPlan, Members
from ml_suite.study.chooser import Aim, Part
from ml_suite.study.contract import TrialResult
from ml_suite.study.piloting import Outcome
from ml_suite.study.speed import Parts
from ml_suite.study.stage import Stage, Task

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

Run = Callable[..., list[TrialResult]]
"""`run_stage` with all that is the same for the stages of a study."""

Say = Callable[[str], None]


def wanted(frozen: Frozen) -> bool:
    """Whether the study asks for a pilot: by `pilot`, or by something that is `auto`."""
    return piloting.wanted(frozen.file.hpo)


def run_pilot(frozen: Frozen, work: Run, say: Say = lambda text: None) -> Outcome:
    """Train the pilot, or take up what is recorded of it, and decide what is `auto`.

    Parameters
    ----------
    work
        `ml_suite.search.stages.run_stage` with workers, stop, progress and environment.

    Raises
    ------
    StudyError
        If so few configurations train that nothing can be decided, or the budget is too small.
    Stopped
        If told to stop.
    """
    aim = aims(frozen)
    budget.require_hope(aim, effort.estimated(frozen.plan))
    plan = _prepared(frozen)
    if not frozen.decided and plan.trainer != "mlp":
        say(
            f"what is `auto` is decided by the {effort.clock(plan)} that the program takes, so another run may choose "
            "otherwise"
        )
    outcome = piloting.run(
        plan, aim, lambda part: _train(frozen, plan, aim, part, work), effort.counted(plan)
    )
    if told := piloting.words(aim, outcome):
        say(told)
    return outcome


def aims(frozen: Frozen) -> Aim:
    """Say what the search is to reach."""
    first = chooser.first_share(len(frozen.parts.training), freeze.batch(frozen.file, max))
    return piloting.aim(frozen.plan, frozen.file.hpo, first)


def excess(frozen: Frozen, parts: Parts) -> list[str]:
    """Say so where a pilot and the search that follows from it will cost more than the budget."""
    aim, plan, work = aims(frozen), frozen.plan, effort.counted(frozen.plan)
    rate = speed.fitted(parts, plan.direction, plan.epochs["step1"] / plan.epochs["step2"], work)
    return budget.planned(aim, rate, piloting.spent(parts, work), plan.subset, plan.keep)


def _prepared(frozen: Frozen) -> ArrayPlan:
    """Write what workers read beside the subset, and draw configurations of an adaptive sampler at random."""
    folder, plan = frozen.folder, frozen.plan
    kinds = (("training", frozen.parts.training), ("validation", frozen.parts.validation))
    for name, numbers in kinds:
        samples.save(folder.members / f"{name}.npy", numbers)
    if plan.normalisation == "training":
        samples.normalise(folder.normalisation, frozen.x, frozen.parts.training)
    return piloting.drawn(plan)


def _train(frozen: Frozen, plan: ArrayPlan, aim: Aim, part: Part, work: Run) -> list[TrialResult]:
    """Run one part as a stage."""
    full = part.share == 1.0
    name = piloting.name(part)
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
        normalisation=_normalised(frozen, aim, part, f"pilot-{name}"),
    )
    number = piloting.number(aim, part)
    chosen = part.trials if part.trials is not None else range(aim.configurations)
    tasks = [Task(trial, trials.parameters(plan, trial), number) for trial in chosen]
    return work(plan, frozen.folder.root, stage, tasks)


def _normalised(frozen: Frozen, aim: Aim, part: Part, key: str) -> Path | None:
    """Leave the normalisation of a part that has another one than step 1; None: it has the study's.

    As in step 2, what is trained on everything keeps the normalisation of a subset: that of the pilot's first one.
    """
    if frozen.plan.normalisation != "subset":
        return None
    of = replace(part, share=aim.subset or aim.first, replicate=0) if part.share == 1.0 else part
    path = frozen.folder.members / f"{key}.npz"
    samples.normalise(path, frozen.x, _numbers(frozen, of))
    return path.relative_to(frozen.folder.root)


def _numbers(frozen: Frozen, part: Part) -> NDArray[int64]:
    training = frozen.parts.training
    if part.share == 1.0:
        return training
    return subset.subset(training, part.share, piloting.seed(frozen.file.data.seed, part))


def _relative(frozen: Frozen, key: str) -> Path:
    return (frozen.folder.members / f"{key}.npy").relative_to(frozen.folder.root)
