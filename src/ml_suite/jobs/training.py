"""Train one trial of a study on this host and keep what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Literal

from ml_suite.errors import StudyError
from ml_suite.jobs import outbox, parcels
from ml_suite.jobs.context import Job
from ml_suite.study import record, trials
from ml_suite.study.contract import StudyPlan, TrialResult, TrialSpec, TrialState
from ml_suite.trainers import anemoi, outcome, runner

Step = Literal[0, 1, 2]


def train(spec: TrialSpec, stop: Event, progress: Callable[[float], None] | None = None) -> TrialResult:
    """Train a trial, or read the result it has; see `ml_suite.trainers.runner.run`."""
    return runner.run(spec, stop, progress)


def specification(
    job: Job,
    plan: StudyPlan,
    step: Step,
    trial: int,
    *,
    replicate: int = 0,
    params: dict[str, Any] | None = None,
    until: int | None = None,
    output: Path | None = None,
) -> TrialSpec:
    """Return the trial as this host runs it; see `ml_suite.study.trials.specification`.

    Parameters
    ----------
    output
        Its folder; default: that of its step.
    """
    hpo = job.deployment.hpo
    walltime = hpo.step1.trial_walltime if hpo and step == 1 and output is None else None
    place = trials.Place(
        environment=job.environment,
        output=output or job.tree.trial(step, trial, replicate),
        config=job.resolved.config_file,
        dataset=job.tree.dataset(plan.dataset.name),
        walltime=walltime.total_seconds() if walltime else None,
    )
    spec = trials.specification(plan, step, trial, place, replicate=replicate, params=params, until=until)
    epochs = plan.patience_epochs.get(f"step{step}")
    if epochs is None:
        return spec
    patience = epochs * anemoi.steps_per_epoch(spec)
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"patience": patience})})


def keep(job: Job, plan: StudyPlan, result: TrialResult, name: str) -> None:
    """Leave a trial's parcels and record it; what a stopped trial has to tell waits until it has ended.

    The record comes last: a trial in it is never looked at again, so its parcels must be there already.
    """
    if result.state is not TrialState.PREEMPTED:
        spec = specification(
            job, plan, result.step, result.trial, replicate=result.replicate, params=result.params
        )
        for parcel in parcels.of_trial(job, plan, spec, result):
            outbox.leave(job.tree.outbox, parcel)
    if not outcome.paused(result):
        record.append(job.tree.shard(result.step, name), result)


def require_not_stopped(result: TrialResult, folder: Path) -> None:
    """End the job with an error when its trial was preempted, so that the task runs again.

    Raises
    ------
    StudyError
        With what to do.
    """
    if result.state is TrialState.PREEMPTED:
        raise StudyError(
            f"trial {result.trial} of step {result.step} was stopped: {result.reason}",
            f"Run the task again: it goes on from the last checkpoint in {folder}.",
        )
