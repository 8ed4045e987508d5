"""Freeze a study or a single training from the deployment, the dataset and the composed configuration."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ml_suite.config.hpo import Hpo
from ml_suite.errors import StudyError
from ml_suite.jobs.context import Job
from ml_suite.jobs.planning import dataset_of
from ml_suite.quantities import format_fraction
from ml_suite.study import budget, chooser, data, periods, piloting, trials
from ml_suite.study import planning as studies
from ml_suite.study.contract import Choice, Layout, Rungs, Span, StudyPlan
from ml_suite.study.dated import DatedPilot, Dates
from ml_suite.study.periods import Calendar, Window
from ml_suite.study.speed import Rate
from ml_suite.trainers import anemoi, settings
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
    """Plan a two-step search; what is `auto` has the largest value that may be chosen.

    Raises
    ------
    StudyError
        If the deployment has none, or dataset, periods and configuration do not allow it.
    """
    return _search(job)[0]


def pilot(job: Job) -> DatedPilot:
    """Plan a two-step search and the pilot by which it is judged, and decided where something is `auto`.

    Raises
    ------
    StudyError
        As `search`; also if the subsets of a pilot cannot be read, or no pilot is within its budget.
    """
    plan, dates = _search(job)
    hpo = _hpo(job)
    first = chooser.first_share(plan.samples["training"], _batch(piloting.drawn(plan)))
    aim = piloting.aim(plan, hpo, first)
    # what a training costs whatever its data is not known yet; it makes pilot and search dearer, never cheaper
    budget.require_hope(aim, Rate(overhead=0.0, full=1.0, measured=False))
    return DatedPilot(plan=plan, aim=aim, dates=dates, most=studies.most_kept(hpo))


def _hpo(job: Job) -> Hpo:
    hpo = job.deployment.hpo
    if hpo is None:
        raise StudyError("the deployment has no hpo", "Add hpo, or run the single training.")
    return hpo


def _search(job: Job) -> tuple[StudyPlan, Dates]:
    hpo = _hpo(job)
    keep = studies.most_kept(hpo)
    if not keep:
        share = format_fraction(hpo.step2.keep) if isinstance(hpo.step2.keep, float) else str(hpo.step2.keep)
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
        constraints=hpo.constraints,
        sampling=hpo.sampling if isinstance(hpo.sampling, str) else f"{trials.OPTUNA}{hpo.sampling.optuna}",
        rounds=1 if isinstance(hpo.sampling, str) else hpo.sampling.rounds,
        trials=hpo.step1.trials,
        keep=keep,
        subset=hpo.step1.subset if isinstance(hpo.step1.subset, float) else 1.0,
        shards=studies.shards(job.deployment, hpo),
        hpo=hpo,
        replicas={"step1": step1.replicas, "step2": step2.replicas},
    )


def _batch(plan: StudyPlan) -> int:
    """Largest number of samples of an optimiser step; 1 where only the program knows."""
    if plan.trainer != "anemoi":
        return 1
    layout = Layout(replicas=plan.replicas["step1"], reference=plan.replicas["step1"])
    params = (trials.parameters(plan, trial) for trial in range(plan.trials))
    return max(anemoi.scaled({**plan.overrides, **given}, layout).global_batch for given in params)


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
        hpo=None,
        # what the configuration states is meant for the layout that it is trained with
        replicas={"step1": replicas, "step2": replicas},
    )[0]


def _freeze(job: Job, hpo: Hpo | None, **fields: Any) -> tuple[StudyPlan, Dates]:
    training = job.deployment.training
    dataset, calendar = data.read(dataset_of(job))
    composed = _composed(job)
    calendar, window = _grid(calendar, composed)
    contiguous, block = hpo is None or hpo.step1.contiguous, hpo.step1.block if hpo else None
    split, samples = periods.split(
        calendar,
        window,
        _spans(job, composed),
        fields["subset"],
        contiguous=contiguous,
        block=block,
        seed=fields["seed"],
    )
    divided = split.blocks or (hpo is not None and piloting.wanted(hpo) and not contiguous)
    if divided and composed and not composed.divisible:
        raise StudyError(
            f"the training configuration does not let ml-suite read blocks of the dataset: {anemoi.SOURCE} is not the "
            "dataset of system.input.dataset",
            "Write dataset_config: {dataset: ${system.input.dataset}} there, or hpo.step1.contiguous: true.",
        )
    epochs = training.epochs or (composed.epochs if composed else 1)
    if epochs is None:
        raise StudyError(
            "nothing says how many epochs a training has", "Set training.epochs in the deployment."
        )
    overrides = {**(composed.stated if composed else {}), **training.overrides}
    fields["replicas"] = replicas_of(fields["replicas"], int(overrides.get(anemoi.GPUS_PER_MODEL) or 1))
    _require_samples(samples["subset"], fields["replicas"])
    if hpo:
        fields |= _limits(hpo, epochs, training.trainer)
    plan = studies.freeze(
        suite=job.deployment.suite,
        dataset=dataset,
        split=split,
        samples=samples,
        **{"epochs": {"step1": epochs, "step2": epochs}, **fields},
        trainer=training.trainer,
        software=_software() if composed else {},
        overrides=overrides,
        config=job.resolved.config.sha256 if composed and job.resolved.config else None,
        command=training.command,
        training_seed=training.seed,
    )
    require_shareable(plan)
    return plan, Dates.of(calendar, window, contiguous, block)


def _limits(hpo: Hpo, epochs: int, trainer: str) -> dict[str, Any]:
    """How long trainings of a search are, who is cut, and who is chosen."""
    lengths = {"step1": hpo.step1.epochs or epochs, "step2": hpo.step2.epochs or epochs}
    rungs = hpo.step1.rungs
    if rungs and rungs.at[-1] >= lengths["step1"]:
        raise StudyError(
            f"a rung after epoch {rungs.at[-1]} cuts nothing: trials of step 1 have {lengths['step1']} epochs",
            "Lower hpo.step1.rungs.at or raise hpo.step1.epochs.",
        )
    patience = {"step1": hpo.step1.patience, "step2": hpo.step2.patience}
    stated = {name: given for name, given in patience.items() if given}
    if trainer == "command" and (name := next((n for n, p in stated.items() if p.unit == "epochs"), None)):
        raise StudyError(
            f"hpo.{name}.patience is in epochs, and only the program knows how many steps they have",
            "Write it in optimiser steps, such as 200 steps.",
        )
    return {
        "epochs": lengths,
        "patience": {name: p.count for name, p in stated.items() if p.unit == "steps"},
        "patience_epochs": {name: p.count for name, p in stated.items() if p.unit == "epochs"},
        "rungs": Rungs(at=rungs.at, keep=rungs.keep, cohort=rungs.cohort) if rungs else None,
        "choice": Choice.model_validate(hpo.step2.model_dump(include=set(Choice.model_fields))),
    }


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
    # what a sampler will draw is not known yet
    sampling = "sobol" if plan.sampling.startswith(trials.OPTUNA) else plan.sampling
    draw = trials.drawing(plan.space, plan.constraints, sampling, plan.seed) if plan.space else lambda _: {}
    for trial in range(plan.trials):
        params = draw(trial)
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
