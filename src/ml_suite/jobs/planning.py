"""Freeze a study or a single training from the deployment, the dataset and the composed configuration."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml_suite.errors import StudyError
from ml_suite.jobs.context import Job
from ml_suite.jobs.places import Found, Place, found, places
from ml_suite.quantities import format_fraction
from ml_suite.stores.manifest import path_for
from ml_suite.study import data, periods, trials
from ml_suite.study import planning as studies
from ml_suite.study.contract import Layout, Shortlist, Span, StudyPlan, TrialResult, TrialSpec
from ml_suite.study.periods import Calendar, Window
from ml_suite.trainers import anemoi, runner, settings
from ml_suite.trainers.settings import Settings

METRIC = {"anemoi": "val_multi_dataset_loss_epoch", "command": "value"}
"""What a training without a search reports."""

_SOFTWARE = (
    "anemoi-training",
    "anemoi-models",
    "anemoi-graphs",
    "anemoi-datasets",
    "pytorch-lightning",
    "torch",
)


def search(job: Job) -> StudyPlan:
    """Plan a two-step search.

    Raises
    ------
    StudyError
        If the deployment has none, or dataset, periods and configuration do not allow it.
    """
    hpo = job.deployment.hpo
    if hpo is None:
        raise StudyError("the deployment has no hpo", "Add hpo, or run the single training.")
    if hpo.step2.keep == "auto" or hpo.step1.subset == "auto":
        raise StudyError("auto is not decided yet", "Write a share, such as 5%.")
    if not hpo.keep_count:
        share = format_fraction(hpo.step2.keep)
        raise StudyError(
            f"keeping {share} of {hpo.step1.trials} trials keeps none",
            "Raise hpo.step2.keep or hpo.step1.trials.",
        )
    training = job.deployment.training
    step1, step2 = (step.resources or training.resources for step in (hpo.step1, hpo.step2))
    return _freeze(
        job,
        metric=hpo.metric,
        direction=hpo.direction,
        seed=hpo.seed,
        space={name: d.model_dump(mode="json", exclude_none=True) for name, d in hpo.space.items()},
        trials=hpo.step1.trials,
        keep=hpo.keep_count,
        subset=hpo.step1.subset,
        shards=studies.shards(job.deployment, hpo),
        step1_epochs=hpo.step1.epochs,
        replicas={"step1": step1.replicas, "step2": step2.replicas},
    )


def single(job: Job) -> StudyPlan:
    """Plan one training without a search: a study of one trial on all of the training period."""
    replicas = job.deployment.training.resources.replicas
    return _freeze(
        job,
        metric=METRIC[job.deployment.training.trainer],
        direction="minimize",
        seed=0,
        space={},
        trials=1,
        keep=1,
        subset=1.0,
        shards=1,
        step1_epochs=None,
        # what the configuration states is meant for the layout that it is trained with
        replicas={"step1": replicas, "step2": replicas},
    )


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
        finished = sum(
            result.state in runner.FINAL for step in (0, 1, 2) for result in results(job, step, old.study)
        )
        studies.require_same(old, plan, finished, tree.study)
    plan.save(tree.plan)
    return plan


def current(job: Job) -> StudyPlan:
    """Read the frozen study.

    Raises
    ------
    StudyError
        If there is none or another version wrote it.
    """
    try:
        return StudyPlan.load(job.tree.plan)
    except (OSError, ValidationError) as error:
        raise StudyError(f"there is no study in {job.tree.plan}", "Run the task plan first.") from error


def shortlist(job: Job) -> Shortlist:
    """Read the candidates of step 2.

    Raises
    ------
    StudyError
        If there are none yet.
    """
    try:
        return Shortlist.load(job.tree.shortlist)
    except (OSError, ValueError) as error:
        raise StudyError(f"there is no {job.tree.shortlist}", "Run the task shortlist first.") from error


def results(job: Job, step: int, study: str | None = None) -> list[TrialResult]:
    """Return the merged record of one step: this host's, and beside the ecFlow server those of all hosts."""
    return [one.result for one in whereabouts(job, step, study)]


def whereabouts(job: Job, step: int, study: str | None = None) -> list[Found]:
    """Return the results of `results` with the hosts that they come from."""
    return found(places(job.resolved, job.host, job.cycle), step, study)


def place_of(job: Job, result: TrialResult) -> Place:
    """Return where a trial ran; this host if no record has it."""
    for one in whereabouts(job, result.step, result.study):
        if one.result.trial == result.trial:
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
    path = place.tree.trial(result.step, result.trial) / "trial.json"
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


def _freeze(job: Job, step1_epochs: int | None, **fields: Any) -> StudyPlan:
    training = job.deployment.training
    dataset, calendar = data.read(dataset_of(job))
    composed = _composed(job)
    calendar, window = _grid(calendar, composed)
    split, samples = periods.split(calendar, window, _spans(job, composed), fields["subset"])
    epochs = training.epochs or (composed.epochs if composed else 1)
    if epochs is None:
        raise StudyError(
            "nothing says how many epochs a training has", "Set training.epochs in the deployment."
        )
    overrides = {**(composed.stated if composed else {}), **training.overrides}
    fields["replicas"] = replicas_of(fields["replicas"], int(overrides.get(anemoi.GPUS_PER_MODEL) or 1))
    _require_samples(samples["subset"], fields["replicas"])
    plan = studies.freeze(
        suite=job.deployment.suite,
        dataset=dataset,
        split=split,
        samples=samples,
        epochs={"step1": step1_epochs or epochs, "step2": epochs},
        trainer=training.trainer,
        software=_software() if composed else {},
        overrides=overrides,
        config=job.resolved.config.sha256 if composed and job.resolved.config else None,
        command=training.command,
        training_seed=training.seed,
        **fields,
    )
    require_shareable(plan)
    return plan


def _composed(job: Job) -> Settings | None:
    training = job.deployment.training
    if training.trainer == "command":
        return None
    if job.resolved.config_file is None:
        raise StudyError(
            "trainer anemoi has no training configuration", "Set training.config in the deployment."
        )
    return settings.read(job.resolved.config_file, training.overrides, job.environment)


def _grid(calendar: Calendar, composed: Settings | None) -> tuple[Calendar, Window]:
    """Dates that a training reads; a program of trainer command is taken to use each date as a sample."""
    if composed is None:
        return calendar, Window((calendar.frequency * 0,))
    every, rest = divmod(composed.frequency, calendar.frequency)
    if rest or not every:
        raise StudyError(
            f"data.frequency is {composed.frequency}, which is no multiple of the dataset's {calendar.frequency}",
            "Change data.frequency in the training configuration.",
        )
    return Calendar(
        calendar.start, calendar.end, calendar.frequency, calendar.missing, every
    ), composed.window


def _spans(job: Job, composed: Settings | None) -> dict[str, Span]:
    given = job.deployment.training.periods
    names = ("training", "validation", "test")
    if given:
        return {name: Span.model_validate(getattr(given, name).model_dump()) for name in names}
    found = composed.periods if composed else {}
    if absent := [name for name in names if name not in found]:
        raise StudyError(f"nothing gives the {absent[0]} period", "Set training.periods in the deployment.")
    return found


def require_shareable(plan: StudyPlan) -> None:
    """Look now whether each trial could be retrained, rather than after all of step 1.

    Raises
    ------
    StudyError
        If a global batch cannot be shared by the replicas of step 2.
    """
    if plan.trainer != "anemoi":
        return
    layout = Layout(replicas=plan.replicas["step2"], reference=plan.replicas["step1"])
    for trial in range(plan.trials):
        params = trials.parameters(plan, trial) if plan.space else {}
        anemoi.scaled({**plan.overrides, **params}, layout)


def replicas_of(gpus: dict[str, int], per_model: int) -> dict[str, int]:
    """Copies of a model that takes several GPUs."""
    for step, count in gpus.items():
        if count % per_model:
            raise StudyError(
                f"{count} GPUs of {step} cannot be shared by models of {per_model}",
                f"Ask for a multiple of {per_model}, or change {anemoi.GPUS_PER_MODEL}.",
            )
    return {step: count // per_model for step, count in gpus.items()}


def _require_samples(samples: int, replicas: dict[str, int]) -> None:
    if samples < replicas["step1"]:
        raise StudyError(
            f"the subset has {samples} samples for {replicas['step1']} replicas",
            "Raise hpo.step1.subset or use fewer GPUs in step 1.",
        )


def _software() -> dict[str, str]:
    found = {}
    for package in _SOFTWARE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
