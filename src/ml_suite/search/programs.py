"""Trainings of trainer command: a program and a folder for each, see `ml_suite.trainers.runner`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ml_suite.search.work import Job, Part
from ml_suite.study.arrays import ArrayPlan, ArraySpec
from ml_suite.study.contract import Budget, Layout, TrialState
from ml_suite.study.stage import Stage, Task
from ml_suite.trainers import outcome, runner


@dataclass(frozen=True)
class Program:
    """Runs one program after the other; see `ml_suite.search.crew.Hand`."""

    plan: ArrayPlan
    stage: Stage
    members: dict[str, Path]
    normalisation: Path | None
    samples: int
    environment: Path
    output: Callable[[Task], Path]
    seed: Callable[[Task], int]
    stop: Event

    def do(self, job: Job) -> Part | None:
        """Train."""
        result = runner.run(self.specification(job), self.stop)
        if outcome.paused(result):
            return Part(result, paused=True)
        return None if result.state is TrialState.PREEMPTED else Part(result)

    def close(self) -> None:
        """Nothing is left: a program ends with its job."""

    def specification(self, job: Job) -> ArraySpec:
        """Return trial.json."""
        plan, stage, task = self.plan, self.stage, job.task
        return ArraySpec(
            study=plan.study,
            trial=task.trial,
            step=stage.step,
            replicate=task.replicate,
            trainer="command",
            params=task.params,
            metric=plan.metric,
            direction=plan.direction,
            seed=self.seed(task),
            samples=self.samples,
            layout=Layout(replicas=1, reference=1),
            budget=Budget(
                epochs=stage.epochs, until=job.until, patience=stage.patience, walltime=stage.walltime
            ),
            command=plan.command,
            environment=self.environment,
            output=self.output(task),
            arrays=plan.arrays,
            members=self.members,
            normalisation=self.normalisation,
            precision=stage.precision,
        )
