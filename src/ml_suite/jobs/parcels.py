"""What a study has to tell MLflow and the object store, as parcels; pure but for reading the trial's own files."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from pathlib import Path
from typing import Any

from ml_suite.jobs.context import Job
from ml_suite.jobs.outbox import CheckpointParcel, Parcel, Point, RunParcel, Status, again
from ml_suite.study.contract import Selection, StudyPlan, TrialResult, TrialSpec, TrialState
from ml_suite.trainers import events

_STATUS: dict[TrialState, Status] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.PREEMPTED: "KILLED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FAILED: "FAILED",
}
_VALUE_LENGTH = 500  # older servers refuse longer parameters


def of_study(job: Job, plan: StudyPlan, started: datetime, selection: Selection | None = None) -> RunParcel:
    """Run of the study itself; with a selection it is finished."""
    space = {f"space.{name}": str(given) for name, given in plan.space.items()}
    won: dict[str, str] = {}
    metrics: list[Point] = []
    if selection:
        weights = selection.result.checkpoint
        won = {
            "ml_suite.winner": _id(plan.study, selection.result),
            "ml_suite.winner_checkpoint": _text(weights.uuid if weights else None),
        }
        time = _milliseconds(selection.result.ended)
        metrics = [Point(key="value", value=selection.value, step=0, time=time)]
        if selection.step1_value is not None:
            metrics.append(Point(key="step1_value", value=selection.step1_value, step=0, time=time))
    return RunParcel(
        id=plan.study,
        study=plan.study,
        experiment=plan.suite,
        name=f"{plan.suite} {job.cycle} {plan.study}",
        status="FINISHED" if selection else "RUNNING",
        started=started,
        ended=selection.result.ended if selection else None,
        params={
            "metric": plan.metric,
            "direction": plan.direction,
            "seed": str(plan.seed),
            "trials": str(plan.trials),
            "keep": str(plan.keep),
            "subset": f"{plan.subset:g}",
            "sampling": plan.sampling,
            **({"subset_members": plan.split.members} if plan.split.members else {}),
            **{f"samples.{part}": str(count) for part, count in plan.samples.items()},
            **{f"epochs.{step}": str(count) for step, count in plan.epochs.items()},
            **space,
        },
        tags={**_shared_tags(job, plan), **won},
        metrics=metrics,
    )


def of_trial(job: Job, plan: StudyPlan, spec: TrialSpec, result: TrialResult) -> list[Parcel]:
    """Run of a trial, and the weights of a candidate."""
    parcels: list[Parcel] = []
    weights = result.checkpoint
    keep = spec.step != 1 and weights is not None and result.state is TrialState.COMPLETE
    name = f"{spec.step}-{spec.trial:05d}{again(spec.replicate)}"
    url = f"{job.deployment.outputs.checkpoints.rstrip('/')}/{plan.study}/{name}"
    tags: dict[str, str] = {}
    if weights is not None:
        # trained again, a trial has other weights: they must not replace those that somebody may be using
        url = f"{url}-{weights.sha256[:16]}"
        tags = {
            "ml_suite.checkpoint": _text(weights.uuid),
            "ml_suite.checkpoint_sha256": weights.sha256,
            **({"ml_suite.checkpoint_url": f"{url}/{weights.path.name}"} if keep else {}),
        }
        if keep:
            parcels.append(
                CheckpointParcel(
                    study=plan.study,
                    step=spec.step,
                    trial=spec.trial,
                    replicate=spec.replicate,
                    url=f"{url}/{weights.path.name}",
                    **weights.model_dump(),
                )
            )
    parcels.append(_run(job, plan, spec, result, tags))
    return parcels


def _run(job: Job, plan: StudyPlan, spec: TrialSpec, result: TrialResult, tags: dict[str, str]) -> RunParcel:
    return RunParcel(
        id=_id(plan.study, result),
        study=plan.study,
        step=spec.step,
        trial=spec.trial,
        replicate=spec.replicate,
        experiment=plan.suite,
        name=f"step {spec.step} trial {spec.trial}" + (f" seed {spec.replicate}" if spec.replicate else ""),
        status=_STATUS[result.state],
        started=result.started,
        ended=result.ended,
        params=_params(spec),
        tags={
            **_shared_tags(job, plan),
            "ml_suite.step": str(spec.step),
            "ml_suite.number": str(spec.trial),
            **({"ml_suite.replicate": str(spec.replicate)} if spec.replicate else {}),
            "ml_suite.state": result.state.value,
            "ml_suite.reason": result.reason,
            "ml_suite.host": job.host,
            "ml_suite.node": result.host,
            "ml_suite.trainer_run": _text(result.run_id),
            "ml_suite.task": os.environ.get("ECF_NAME", ""),
            **tags,
        },
        metrics=_points(spec.output, result),
    )


def _params(spec: TrialSpec) -> dict[str, str]:
    """Hyperparameters, then what the training was given besides."""
    facts: dict[str, Any] = {
        **{key: value for key, value in spec.overrides.items() if value is not None},
        **spec.params,
        "epochs": spec.budget.epochs,
        "samples": spec.samples,
        "seed": spec.seed,
        "replicas": spec.layout.replicas,
        "dataset": spec.dataset.name,
        "training": f"{spec.training.start.isoformat()} / {spec.training.end.isoformat()}",
        **({"blocks": len(spec.blocks)} if spec.blocks else {}),
        **({"patience": spec.budget.patience} if spec.budget.patience else {}),
        "validation": f"{spec.validation.start.isoformat()} / {spec.validation.end.isoformat()}",
    }
    return {key: str(value)[:_VALUE_LENGTH] for key, value in facts.items()}


def _shared_tags(job: Job, plan: StudyPlan) -> dict[str, str]:
    sources = {
        "recipe": job.resolved.recipe,
        "config": job.resolved.config,
        "deployment": job.resolved.source,
    }
    return {
        "ml_suite.study": plan.study,
        "ml_suite.suite": plan.suite,
        "ml_suite.cycle": job.cycle,
        "ml_suite.dataset": plan.dataset.name,
        "ml_suite.dataset_uuid": plan.dataset.uuid,
        "ml_suite.dataset_manifest": plan.dataset.manifest,
        **{f"ml_suite.{name}_sha256": s.sha256 for name, s in sources.items() if s},
        **{f"ml_suite.{name}_commit": s.commit for name, s in sources.items() if s and s.commit},
        **{f"ml_suite.version.{package}": version for package, version in plan.software.items()},
        "mlflow.source.name": "ml-suite",
        "mlflow.user": os.environ.get("USER") or platform.node(),
    }


def _points(folder: Path, result: TrialResult) -> list[Point]:
    """Everything the trainer reported by epoch, then the trial's own numbers."""
    last = {e.epoch: e for e in events.read(folder / "metrics.jsonl") if e.values}
    points = [
        Point(key=key, value=value, step=event.step, time=int(event.time * 1000))
        for _, event in sorted(last.items())
        for key, value in event.values.items()
        if value is not None
    ]
    end = _milliseconds(result.ended)
    if not points:
        points = [
            Point(key=result.metric, value=p.value, step=p.step, time=end)
            for p in result.history
            if p.value is not None
        ]
    own = {
        "value": result.value,
        "best": result.best,
        "seconds": result.seconds,
        "inference_seconds": result.inference_seconds,
        "parameters": result.parameters,
        "effective_lr": result.effective_lr,
        "global_batch": result.global_batch,
    }
    step = max((p.step for p in points), default=0)
    return points + [
        Point(key=key, value=float(value), step=step, time=end)
        for key, value in own.items()
        if value is not None
    ]


def _id(study: str, of: TrialResult) -> str:
    return f"{study}/{of.step}/{of.trial}{again(of.replicate)}"


def _text(value: str | None) -> str:
    return value or ""


def _milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)
