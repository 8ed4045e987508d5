"""What a plan asks of each trial: pure functions from a `StudyPlan` to a `TrialSpec`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ml_suite.errors import StudyError
from ml_suite.study import sampling as draws_at_random
from ml_suite.study import seeds, space
from ml_suite.study.contract import Budget, Layout, SearchPlan, StudyPlan, TrialSpec
from ml_suite.study.grid import Grid
from ml_suite.study.sobol import Sobol

OPTUNA = "optuna:"
"""Start of the sampling of a plan with an adaptive sampler."""


@dataclass(frozen=True)
class Place:
    """Where a trial runs on this host."""

    environment: Path
    output: Path
    config: Path | None
    dataset: Path
    walltime: float | None = None
    """Seconds."""


Draw = Callable[[int], dict[str, Any]]
"""From the number of a trial to its hyperparameters."""


def parameters(
    plan: SearchPlan, trial: int, draws: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Hyperparameters of a trial; one that is inactive has no key.

    Parameters
    ----------
    draws
        Of an adaptive sampler, by trial: what its asking task has drawn so far.

    Raises
    ------
    StudyError
        If the space cannot be read, no draw fulfils the constraints, the grid is too small, or the adaptive sampler has
        not drawn this trial yet.
    """
    if plan.sampling.startswith(OPTUNA):
        if draws is None or trial not in draws:
            raise StudyError(
                f"trial {trial} is not drawn yet: {plan.sampling} draws it from the results of earlier trials",
                "Run the task that asks for trials first.",
            )
        return dict(draws[trial])
    return _drawing(plan)(trial)


_known: list[tuple[SearchPlan, Draw]] = []
"""Plans of late with what they have prepared; a plan is asked for many trials in a row."""


def _drawing(plan: SearchPlan) -> Draw:
    for known, draw in _known:
        if known is plan:
            return draw
    draw = drawing(plan.space, plan.constraints, plan.sampling, plan.seed)
    _known.insert(0, (plan, draw))
    del _known[4:]
    return draw


def drawing(
    given: Mapping[str, Mapping[str, Any]], constraints: Iterable[str], sampling: str, seed: int
) -> Draw:
    """Prepare the drawing of trials that depend on nothing but the seed and their number.

    Raises
    ------
    StudyError
        If the space or a constraint cannot be read.
    """
    ready = space.build(space.parse(given), constraints)
    if sampling == "sobol":
        return Sobol(ready, seed).draw
    if sampling == "grid":
        return Grid(ready).draw
    if sampling == "random":
        return lambda trial: draws_at_random.draw(ready, seed, trial)
    raise StudyError(f"there is no sampling {sampling}", "Write random, sobol or grid.")


def of_shard(plan: SearchPlan, shard: int) -> list[int]:
    """Trials that a job of step 1 runs; none for a job beyond the number of shards.

    Trials that compete in a cohort run in the same job.
    """
    if shard >= plan.shards:
        return []
    if plan.rungs is None:
        return list(range(shard, plan.trials, plan.shards))
    cohort = plan.rungs.cohort
    starts = range(shard * cohort, plan.trials, plan.shards * cohort)
    return [trial for start in starts for trial in range(start, min(start + cohort, plan.trials))]


def specification(
    plan: StudyPlan,
    step: Literal[0, 1, 2],
    trial: int,
    place: Place,
    *,
    replicate: int = 0,
    params: dict[str, Any] | None = None,
    until: int | None = None,
) -> TrialSpec:
    """Say what to train: the subset in step 1, all of the training period otherwise; validation is always the same.

    Parameters
    ----------
    params
        Hyperparameters of a trial that is not drawn from the space as it is; default: `parameters`.
    until
        Epoch after which it waits.
    """
    if params is None:
        params = parameters(plan, trial) if step else {}
    part = "subset" if step == 1 else "training"
    name = "step1" if step == 1 else "step2"
    return TrialSpec(
        study=plan.study,
        trial=trial,
        step=step,
        replicate=replicate,
        trainer=cast(Literal["anemoi", "command"], plan.trainer),
        params=params,
        overrides=plan.overrides,
        metric=plan.metric,
        direction=plan.direction,
        seed=seeds.of_training(plan.training_seed, trial, replicate),
        dataset=plan.dataset.model_copy(update={"path": place.dataset}),
        training=plan.split.subset if step == 1 else plan.split.training,
        blocks=plan.split.blocks if step == 1 else [],
        validation=plan.split.validation,
        test=plan.split.test,
        samples=plan.samples[part],
        layout=Layout(replicas=plan.replicas[name], reference=plan.replicas["step1"]),
        budget=Budget(
            epochs=plan.epochs[name],
            until=until,
            patience=plan.patience.get(name) if step else None,
            walltime=place.walltime,
        ),
        config=place.config,
        command=plan.command,
        environment=place.environment,
        output=place.output,
    )
