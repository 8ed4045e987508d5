"""Write and read what is known of a study: its plan, candidates, results and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from ml_suite.errors import StudyError
from ml_suite.jobs.context import Job
from ml_suite.jobs.places import Found, Place, found, places
from ml_suite.stores.manifest import path_for
from ml_suite.study import planning as studies
from ml_suite.study import record
from ml_suite.study.contract import Document, Shortlist, StudyPlan, TrialResult, TrialSpec
from ml_suite.trainers import runner

Model = TypeVar("Model", bound=Document)


def settle(job: Job, plan: StudyPlan) -> StudyPlan:
    """Write the plan; one that is there stays when it is the same.

    Raises
    ------
    StudyError
        If another study has finished trials here.
    """
    tree = job.tree
    if tree.plan.exists():
        old = current(job)
        studies.require_same(old, plan, finished(job, old), tree.study)
    plan.save(tree.plan)
    return plan


def finished(job: Job, plan: StudyPlan) -> int:
    """Count the trainings of both steps that have an outcome."""
    found = (result for step in (0, 1, 2) for result in results(job, step, plan.study))
    return sum(result.state in runner.FINAL for result in found)


def current(job: Job) -> StudyPlan:
    """Read the frozen study.

    Raises
    ------
    StudyError
        If there is none or another version wrote it.
    """
    return required(StudyPlan, job.tree.plan, "plan", "study in ")


def required(model: type[Model], path: Path, task: str, what: str = "") -> Model:
    """Read what a task leaves.

    Raises
    ------
    StudyError
        If it is missing or another version wrote it; tells to run the task.
    """
    try:
        return model.load(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"there is no {what}{path}", f"Run the task {task} first.") from error


def shortlist(job: Job) -> Shortlist:
    """Read the candidates of step 2.

    Raises
    ------
    StudyError
        If there are none yet.
    """
    return required(Shortlist, job.tree.shortlist, "shortlist")


def finalists(job: Job) -> Shortlist:
    """Read the candidates that are trained again with other seeds.

    Raises
    ------
    StudyError
        If there are none yet.
    """
    return required(Shortlist, job.tree.finalists, "finalists")


def results(job: Job, step: int, study: str | None = None) -> list[TrialResult]:
    """Return the merged record of one step: this host's, and beside the ecFlow server those of all hosts."""
    return [one.result for one in whereabouts(job, step, study)]


def whereabouts(job: Job, step: int, study: str | None = None) -> list[Found]:
    """Return the results of `results` with the hosts that they come from."""
    return found(places(job.resolved, job.host, job.cycle), step, study)


def place_of(job: Job, result: TrialResult) -> Place:
    """Return where a trial ran; this host if no record has it."""
    for one in whereabouts(job, result.step, result.study):
        if record.key(one.result) == record.key(result):
            return one.place
    return places(job.resolved, job.host, job.cycle)[0]


def specification_of(job: Job, result: TrialResult) -> TrialSpec:
    """Read what a trial was asked for, with the places of this host.

    Raises
    ------
    StudyError
        If its trial.json is missing.
    """
    place = place_of(job, result)
    path = place.tree.trial(result.step, result.trial, result.replicate) / "trial.json"
    try:
        spec = TrialSpec.load(path)
    except OSError as error:
        again = f"Run the task collect_{place.host} again." if place.mirrored else "Run its task again."
        raise StudyError(f"there is no {path}", again) from error
    if not place.mirrored:
        return spec
    dataset = spec.dataset.model_copy(update={"path": dataset_of(job)})
    return spec.model_copy(
        update={
            "output": path.parent,
            "dataset": dataset,
            "config": job.resolved.config_file if spec.config else None,
            "environment": job.environment,
        }
    )


def dataset_of(job: Job) -> Path:
    """Return the dataset on this host: as transferred, or as built where it did not have to travel."""
    name = job.deployment.dataset_name
    here, built = job.tree.dataset(name), job.tree.build(name)
    return built if not path_for(here).exists() and path_for(built).exists() else here
