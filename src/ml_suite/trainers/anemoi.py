"""Trainer ``anemoi``: one run of ``anemoi-training train`` with a folder of its own.

Facts it rests on: the exit code is 0 after SIGTERM and after a loss of NaN, so the events of
`ml_suite.trainers.callback` say how it went; the learning rate is multiplied by the replicas and the batch size is per
replica; the schedule's length is ``training.max_steps``; a run can be taken up only by the id it gave itself.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import ml_suite
from ml_suite.errors import StudyError
from ml_suite.hosts.ranks import Placement
from ml_suite.study.contract import Layout, Span, TrialSpec, TrialState
from ml_suite.study.scaling import Scaled, scale
from ml_suite.trainers import events, schedule
from ml_suite.trainers import outcome as outcomes
from ml_suite.trainers.callback import BEST, LAST
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
SOURCE = f"dataloader.training.datasets.{DATASET}.dataset_config.dataset"
"""What is opened for training: the dataset, or blocks of it."""

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
        """Tell whether the folder has a checkpoint with optimiser state, and the weights of the same step beside it."""
        start = _started(folder)
        if start is None or start.checkpoints is None:
            return False
        if TrialSpec.load(folder / "trial.json").budget.patience is None:
            return True
        # those weights may become the best ones; a kill between the two files would leave another epoch's
        steps = [_step_of(start.checkpoints / name) for name in ("last.ckpt", LAST)]
        return steps[0] is not None and steps[0] == steps[1]

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
        if end is not None and end.status == events.PAUSED and ended.code:
            end = None  # of an earlier part
        if end is None or start is None:
            return outcomes.failed(spec, ended, ", the training did not end")
        if end.status.startswith(("SIGTERMException", "KeyboardInterrupt")):
            return Outcome(TrialState.PREEMPTED, "stopped by a signal")
        return _judge(spec, told, start, end)


def _judge(spec: TrialSpec, told: list[Event], start: Event, end: Event) -> Outcome:
    seen = {name for e in told for name in e.values}
    sound = end.status in (events.FITTED, events.STOPPED, events.PAUSED)
    if sound and spec.metric not in seen:
        return outcomes.absent(spec.metric, seen)
    history = events.history(told, spec.metric)
    last = history[-1].value if history else None
    diverged = bool(history) and last is None
    if not sound and not diverged:
        return Outcome(TrialState.FAILED, end.status, history=history)
    patient = spec.budget.patience is not None
    kept = BEST if patient else LAST
    weights = outcomes.checkpoint(start.checkpoints / kept, end.uuid) if start.checkpoints else None
    state, reason = TrialState.COMPLETE, ""
    if diverged:
        state, reason = TrialState.DIVERGED, f"{spec.metric} is not finite"
    elif weights is None:
        state, reason = TrialState.FAILED, f"no {kept} in {start.checkpoints}"
    best = outcomes.best(history, spec.direction)
    outcome = Outcome(
        state=state,
        reason=reason,
        value=best if patient and not diverged else last,
        best=best,
        history=history,
        metrics={k: v for e in told for k, v in e.values.items() if v is not None},
        epochs=max((e.epoch + 1 for e in told if e.event == "epoch"), default=None),
        steps=max((e.step for e in told if e.event == "epoch"), default=None),
        stopped_early=end.status == events.STOPPED,
        parameters=start.parameters,
        effective_lr=start.effective_lr,
        global_batch=start.global_batch,
        run_id=start.run_id,
        checkpoint=weights,
        resume=outcomes.checkpoint(start.checkpoints / "last.ckpt") if start.checkpoints else None,
    )
    waits = end.status == events.PAUSED and state is TrialState.COMPLETE
    return outcomes.pause(outcome) if waits else outcome


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
    started = _started(spec.output)
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
        **_blocks(spec),
        **_period("validation", spec.validation),
        **_period("test", spec.test),
        "training.max_epochs": spec.budget.epochs,
        "training.max_steps": _steps(spec, shared.batch, spec.budget.epochs),
        **({"training.run_id": started.run_id} if started else {}),
        # deliveries go through the outbox, never from the training itself
        "diagnostics.log.mlflow.enabled": False,
        "diagnostics.enable_progress_bar": False,
        CALLBACKS: [
            *(given.get(CALLBACKS) or []),
            {"_target_": "ml_suite.trainers.callback.recorder", "folder": str(spec.output), **_early(spec)},
        ],
    }


def _early(spec: TrialSpec) -> dict[str, Any]:
    """What the callback must know to end a training before its last epoch."""
    limits = {"patience": spec.budget.patience, "until": spec.budget.until}
    given = {name: count for name, count in limits.items() if count is not None}
    return {"metric": spec.metric, "direction": spec.direction, **given} if given else {}


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


def steps_per_epoch(spec: TrialSpec) -> int:
    """Optimiser steps of one epoch of the trial in its layout."""
    return _steps(spec, scaling(spec).batch, epochs=1)


def _steps(spec: TrialSpec, batch: int, epochs: int) -> int:
    given = {**spec.overrides, **spec.params}
    return schedule.steps(
        spec.samples,
        epochs,
        batch,
        replicas=spec.layout.replicas,
        workers=int(given.get(WORKERS) or 1),
        accumulate=int(given.get(ACCUMULATE) or 1),
        limit=given.get(LIMIT),
    )


def _period(part: str, span: Span) -> dict[str, str]:
    key = f"dataloader.{part}.datasets.{DATASET}"
    return {f"{key}.start": _date(span.start), f"{key}.end": _date(span.end)}


def _blocks(spec: TrialSpec) -> dict[str, Any]:
    """Parts of the training period as one dataset, in which the dates between them are missing."""
    if len(spec.blocks) < 2:
        return {}
    path = str(spec.dataset.path)
    parts = [{"dataset": path, "start": _date(b.start), "end": _date(b.end)} for b in spec.blocks]
    return {SOURCE: {"concat": parts, "fill_missing_gaps": True}}


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


def _started(folder: Path) -> Event | None:
    """How an earlier run of this trial began that left a checkpoint to go on from."""
    told = [e for e in events.read(folder / "metrics.jsonl") if e.event == "start"]
    if not told or not told[-1].checkpoints or not (told[-1].checkpoints / "last.ckpt").is_file():
        return None
    return told[-1]


def _step_of(checkpoint: Path) -> int | None:
    """Optimiser step at which a checkpoint was written; None if it cannot be read."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            name = next(n for n in archive.namelist() if PurePosixPath(n).name == "anemoi.json")
            return int(json.loads(archive.read(name))["training"]["global_step"])
    except (OSError, zipfile.BadZipFile, StopIteration, KeyError, ValueError):
        return None
