"""Trainer ``anemoi``: one run of ``anemoi-training train`` with a folder of its own.

Facts it rests on: the exit code is 0 after SIGTERM and after a loss of NaN, so the events of
`ml_suite.trainers.callback` say how it went; the learning rate is multiplied by the replicas and the batch size is per
replica; the schedule's length is ``training.max_steps``; a run can be taken up only by the id it gave itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ml_suite
from ml_suite.errors import StudyError
from ml_suite.hosts.ranks import Placement
from ml_suite.study.contract import Checkpoint, HistoryPoint, Layout, Span, TrialSpec, TrialState
from ml_suite.study.scaling import Scaled, scale
from ml_suite.trainers import events, schedule
from ml_suite.trainers import outcome as outcomes
from ml_suite.trainers.compose import DATASET, override
from ml_suite.trainers.events import Event
from ml_suite.trainers.outcome import Outcome
from ml_suite.trainers.process import Ended, Launch

LR = "training.optimization.lr"
BATCH = "dataloader.batch_size.training"
ACCUMULATE = "training.accum_grad_batches"
WORKERS = "dataloader.num_workers.training"
LIMIT = "dataloader.limit_batches.training"
GPUS_PER_MODEL = "system.hardware.num_gpus_per_model"
CALLBACKS = "diagnostics.callbacks"

STATED = (LR, BATCH, ACCUMULATE, WORKERS, LIMIT, GPUS_PER_MODEL, CALLBACKS)


class Anemoi:
    """Train with the stock command line of anemoi-training."""

    def ranks(self, spec: TrialSpec) -> int:
        """One for each GPU of each replica's model."""
        return spec.layout.replicas * _gpus_per_model(spec)

    def launch(self, spec: TrialSpec, place: Placement | None) -> Launch:
        """Return the command line of the trial."""
        if spec.config is None:
            raise StudyError("trainer anemoi has no training configuration", "Set training.config.")
        argv = [
            str(spec.environment / "bin" / "anemoi-training"),
            "train",
            "--config-dir",
            str(spec.config.parent),
            f"--config-name={spec.config.stem}",
            *(override(key, value) for key, value in settings(spec, place).items()),
            override("hydra.run.dir", str(spec.output / "hydra")),
        ]
        return Launch(argv, environment(spec, place), spec.output)

    def resumable(self, folder: Path) -> bool:
        """Tell whether the folder has a checkpoint with optimiser state."""
        return _started(folder) is not None

    def progress(self, spec: TrialSpec) -> float:
        """Share of the epochs that is done."""
        try:
            return float((spec.output / "progress").read_text())
        except (OSError, ValueError):
            return 0.0

    def outcome(self, spec: TrialSpec, ended: Ended) -> Outcome:
        """Judge by the events; a training that never started is judged by its log."""
        told = events.read(spec.output / "metrics.jsonl")
        start = next((e for e in reversed(told) if e.event == "start"), None)
        end = told[-1] if told and told[-1].event == "end" else None
        if stopped := outcomes.interrupted(spec, ended):
            return stopped
        if end is None or start is None:
            return outcomes.failed(spec, ended, ", the training did not end")
        if end.status.startswith(("SIGTERMException", "KeyboardInterrupt")):
            return Outcome(TrialState.PREEMPTED, "stopped by a signal")
        return _judge(spec, told, start, end)


def _judge(spec: TrialSpec, told: list[Event], start: Event, end: Event) -> Outcome:
    seen = {name for e in told for name in e.values}
    if end.status == events.FITTED and spec.metric not in seen:
        return outcomes.absent(spec.metric, seen)
    history = _history(told, spec.metric)
    last = history[-1].value if history else None
    diverged = bool(history) and last is None
    if end.status != events.FITTED and not diverged:
        return Outcome(TrialState.FAILED, end.status, history=history)
    weights = _checkpoint(start.checkpoints, end.uuid)
    state, reason = TrialState.COMPLETE, ""
    if diverged:
        state, reason = TrialState.DIVERGED, f"{spec.metric} is not finite"
    elif weights is None:
        state, reason = TrialState.FAILED, f"no inference-last.ckpt in {start.checkpoints}"
    return Outcome(
        state=state,
        reason=reason,
        value=last,
        best=outcomes.best(history, spec.direction),
        history=history,
        metrics={k: v for e in told for k, v in e.values.items() if v is not None},
        parameters=start.parameters,
        effective_lr=start.effective_lr,
        global_batch=start.global_batch,
        run_id=start.run_id,
        checkpoint=weights,
        resume=outcomes.checkpoint(start.checkpoints / "last.ckpt") if start.checkpoints else None,
    )


def _history(told: list[Event], metric: str) -> list[HistoryPoint]:
    """Return the metric after each epoch's validation; an epoch that ran again after a stop counts once."""
    points = {
        e.epoch: HistoryPoint(epoch=e.epoch, step=e.step, value=e.values[metric])
        for e in told
        if e.event == "validation" and metric in e.values
    }
    return [points[epoch] for epoch in sorted(points)]


def settings(spec: TrialSpec, place: Placement | None = None) -> dict[str, Any]:
    """Keys of the training configuration that this trial sets.

    Parameters
    ----------
    place
        Where its ranks are started; None: Lightning starts them, on this machine.

    Raises
    ------
    StudyError
        If the global batch cannot be shared by the replicas.
    """
    given = {**spec.overrides, **spec.params}
    shared = scaling(spec)
    place = place or Placement(1, spec.layout.replicas * _gpus_per_model(spec))
    run = _started(spec.output)
    root = spec.output / "training"
    return {
        **{key: value for key, value in given.items() if value is not None or key not in STATED},
        LR: shared.lr,
        BATCH: shared.batch,
        "system.hardware.num_nodes": place.nodes,
        "system.hardware.num_gpus_per_node": place.per_node,
        "system.input.dataset": str(spec.dataset.path),
        "system.output.root": str(root),
        **_period("training", spec.training),
        **_period("validation", spec.validation),
        **_period("test", spec.test),
        "training.max_epochs": spec.budget.epochs,
        "training.max_steps": _steps(spec, shared.batch),
        **({"training.run_id": run} if run else {}),
        # deliveries go through the outbox, never from the training itself
        "diagnostics.log.mlflow.enabled": False,
        "diagnostics.enable_progress_bar": False,
        CALLBACKS: [
            *(given.get(CALLBACKS) or []),
            {"_target_": "ml_suite.trainers.callback.recorder", "folder": str(spec.output)},
        ],
    }


def scaling(spec: TrialSpec) -> Scaled:
    """Learning rate and batch size of the trial in its layout."""
    return scaled({**spec.overrides, **spec.params}, spec.layout)


def scaled(given: Mapping[str, Any], layout: Layout) -> Scaled:
    """Learning rate and batch size among the settings GIVEN, translated to a layout.

    Raises
    ------
    StudyError
        If they are missing, or the global batch cannot be shared.
    """
    if given.get(LR) is None or given.get(BATCH) is None:
        raise StudyError(f"nothing states both {LR} and {BATCH}", "Set them in the training configuration.")
    return scale(float(given[LR]), int(given[BATCH]), layout, int(given.get(ACCUMULATE) or 1))


def _gpus_per_model(spec: TrialSpec) -> int:
    return int({**spec.overrides, **spec.params}.get(GPUS_PER_MODEL) or 1)


def _steps(spec: TrialSpec, batch: int) -> int:
    given = {**spec.overrides, **spec.params}
    return schedule.steps(
        spec.samples,
        spec.budget.epochs,
        batch,
        replicas=spec.layout.replicas,
        workers=int(given.get(WORKERS) or 1),
        accumulate=int(given.get(ACCUMULATE) or 1),
        limit=given.get(LIMIT),
    )


def _period(part: str, span: Span) -> dict[str, str]:
    key = f"dataloader.{part}.datasets.{DATASET}"
    return {f"{key}.start": _date(span.start), f"{key}.end": _date(span.end)}


def _date(date: datetime) -> str:
    return date.strftime("%Y-%m-%d %H:%M:%S")


def environment(spec: TrialSpec, place: Placement | None = None) -> dict[str, str]:
    """Return the environment of a training: its own seed, one thread unless told otherwise, this package to import."""
    given = dict(os.environ)
    if place is None:
        # else Lightning takes the job's tasks for ranks that srun has started
        given.pop("SLURM_NTASKS", None)
    here = str(Path(ml_suite.__file__).parents[1])
    path = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "OMP_NUM_THREADS": "1",
        **given,
        "PATH": f"{spec.environment / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        # without it the seed would be the number of the Slurm job
        "ANEMOI_BASE_SEED": str(spec.seed),
        "HYDRA_FULL_ERROR": "1",
    }


def _started(folder: Path) -> str | None:
    """Id of an earlier run of this trial that left a checkpoint to go on from."""
    told = [e for e in events.read(folder / "metrics.jsonl") if e.event == "start"]
    if not told or not told[-1].checkpoints or not (told[-1].checkpoints / "last.ckpt").is_file():
        return None
    return told[-1].run_id


def _checkpoint(folder: Path | None, uuid: str | None) -> Checkpoint | None:
    return outcomes.checkpoint(folder / "inference-last.ckpt", uuid) if folder else None
