"""What a plan asks of each trial: pure functions from a `StudyPlan` to a `TrialSpec`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ml_suite.study import sampling, space
from ml_suite.study.contract import Budget, Layout, StudyPlan, TrialSpec


@dataclass(frozen=True)
class Place:
    """Where a trial runs on this host."""

    environment: Path
    output: Path
    config: Path | None
    dataset: Path
    walltime: float | None = None
    """Seconds."""


def parameters(plan: StudyPlan, trial: int) -> dict[str, Any]:
    """Hyperparameters of a trial."""
    return sampling.draw(space.parse(plan.space), plan.seed, trial)


def of_shard(plan: StudyPlan, shard: int) -> list[int]:
    """Trials that a job of step 1 runs; none for a job beyond the number of shards."""
    return list(range(shard, plan.trials, plan.shards)) if shard < plan.shards else []


def specification(plan: StudyPlan, step: Literal[0, 1, 2], trial: int, place: Place) -> TrialSpec:
    """Say what to train: the subset in step 1, all of the training period otherwise; validation is always the same."""
    part = "subset" if step == 1 else "training"
    name = "step1" if step == 1 else "step2"
    return TrialSpec(
        study=plan.study,
        trial=trial,
        step=step,
        trainer=cast(Literal["anemoi", "command"], plan.trainer),
        params=parameters(plan, trial) if step else {},
        overrides=plan.overrides,
        metric=plan.metric,
        direction=plan.direction,
        seed=plan.training_seed,
        dataset=plan.dataset.model_copy(update={"path": place.dataset}),
        training=plan.split.subset if step == 1 else plan.split.training,
        validation=plan.split.validation,
        test=plan.split.test,
        samples=plan.samples[part],
        layout=Layout(replicas=plan.replicas[name], reference=plan.replicas["step1"]),
        budget=Budget(epochs=plan.epochs[name], walltime=place.walltime),
        config=place.config,
        command=plan.command,
        environment=place.environment,
        output=place.output,
    )
