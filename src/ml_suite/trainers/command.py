"""Trainer ``command``: any program, in any language.

It is called with the path of ``trial.json`` as its last argument, in the trial's folder, and leaves ``outcome.json``
beside it::

    {"value": 0.12,                                          the metric, or:
     "metrics": {"val_loss": 0.12},                          the metric among others
     "state": "complete",                                    default; else pruned, diverged or failed, with a "reason"
     "history": [{"epoch": 0, "step": 10, "value": 0.2}],    all that follows is optional
     "checkpoint": "weights.bin", "parameters": 61200, "effective_lr": 0.01, "global_batch": 4,
     "epochs": 5, "steps": 50, "stopped_early": true, "inference_seconds": 2e-5,
     "paused": true}                                         it waits after ``budget.until`` epochs, see below

Where the training has several ranks and runs inside a Slurm job, the program is started once for each of them with the
variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, ...); rank 0 writes the files.

A value that is not finite (null, NaN) means diverged. For a meter that moves, write the share of the work done (0 to 1)
to ``progress`` now and then. SIGTERM asks it to stop; a program that wants to go on later may leave a file ``resume``,
and finds its folder as it was when it runs again.

``budget`` in trial.json says when to end: after ``epochs``; after ``patience`` optimiser steps without a better value,
unless that is null; and after ``until`` epochs to wait, unless that is null: trials are compared there, and only the
better ones go on. A program that waits leaves ``resume`` and says ``"paused": true``; one that does not heed ``until``
trains to its end, which costs more and changes nothing else.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_suite.hosts import ranks
from ml_suite.hosts.ranks import Placement
from ml_suite.study.contract import HistoryPoint, Specification, TrialState
from ml_suite.trainers import outcome as outcomes
from ml_suite.trainers import steps
from ml_suite.trainers.outcome import Outcome, finite
from ml_suite.trainers.process import Ended, Launch


class Report(BaseModel):
    """outcome.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = None
    metrics: dict[str, float | None] = {}
    state: TrialState = TrialState.COMPLETE
    reason: str = ""
    best: float | None = None
    history: list[HistoryPoint] = []
    checkpoint: Path | None = None
    parameters: int | None = None
    epochs: int | None = None
    steps: int | None = None
    stopped_early: bool = False
    paused: bool = False
    inference_seconds: float | None = None
    effective_lr: float | None = None
    global_batch: int | None = None
    run_id: str | None = None


FILES = "ML_SUITE_FILES"
"""Environment variable with the folder that ``{files}`` stands for; default: that of the deployed suite."""


def _located(word: str, spec: Specification) -> str:
    """A word of the command with what differs from host to host: the files of the suite, the environment's Python."""
    deployed = Path(os.environ.get("ML_SUITE_RESOLVED", "")).parent / "training"
    files = Path(os.environ.get(FILES) or deployed)
    return word.replace("{files}", str(files)).replace("{python}", str(spec.environment / "bin" / "python"))


class Command:
    """Run the program that the deployment names."""

    def ranks(self, spec: Specification) -> int:
        """One for each replica."""
        return spec.layout.replicas

    def launch(self, spec: Specification, place: Placement | None) -> Launch:
        """Return the program with trial.json as its last argument."""
        argv = [_located(word, spec) for word in spec.command or []] + [str(spec.output / "trial.json")]
        # a program that is started once for each rank must not have to know when there is but one
        alone = ranks.alone(steps.free_port()) if place is None and self.ranks(spec) == 1 else {}
        # what an earlier part of the training said is kept in its result
        (spec.output / "outcome.json").unlink(missing_ok=True)
        return Launch(argv, {**alone, **os.environ, "ML_SUITE_SEED": str(spec.seed)}, spec.output)

    def resumable(self, folder: Path) -> bool:
        """Tell whether the program left ``resume``."""
        return (folder / "resume").exists()

    def progress(self, spec: Specification) -> float:
        """Share of the work that the program says is done."""
        try:
            return min(1.0, max(0.0, float((spec.output / "progress").read_text())))
        except (OSError, ValueError):
            return 0.0

    def outcome(self, spec: Specification, ended: Ended) -> Outcome:
        """Read outcome.json."""
        if stopped := outcomes.interrupted(spec, ended):
            return stopped
        if ended.code:
            return outcomes.failed(spec, ended)
        path = spec.output / "outcome.json"
        try:
            report = Report.model_validate_json(path.read_bytes())
        except OSError:
            return Outcome(TrialState.FAILED, f"the program left no {path.name}")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(x) for x in first["loc"])
            return Outcome(TrialState.FAILED, f"{path.name} cannot be read: {where} {first['msg']}".strip())
        return _judge(spec, report)


def _judge(spec: Specification, report: Report) -> Outcome:
    given = "value" in report.model_fields_set
    if report.state is TrialState.COMPLETE and not given and spec.metric not in report.metrics:
        return outcomes.absent(spec.metric, set(report.metrics))
    value = finite(report.value if given else report.metrics.get(spec.metric))
    state, reason = report.state, report.reason
    if state is TrialState.COMPLETE and value is None:
        state, reason = TrialState.DIVERGED, f"{spec.metric} is not finite"
    weights = report.checkpoint and outcomes.checkpoint(spec.output / report.checkpoint)
    if report.checkpoint and not weights:
        return Outcome(TrialState.FAILED, f"there is no checkpoint {report.checkpoint} in the trial's folder")
    last = report.history[-1] if report.history else None
    outcome = Outcome(
        state=state,
        reason=reason,
        value=value,
        best=report.best if report.best is not None else outcomes.best(report.history, spec.direction),
        history=report.history,
        metrics={name: x for name, x in report.metrics.items() if finite(x) is not None and x is not None},
        parameters=report.parameters,
        epochs=report.epochs if report.epochs is not None or last is None else last.epoch + 1,
        steps=report.steps if report.steps is not None or last is None else last.step,
        stopped_early=report.stopped_early,
        inference_seconds=report.inference_seconds,
        effective_lr=report.effective_lr,
        global_batch=report.global_batch,
        run_id=report.run_id,
        checkpoint=weights or None,
    )
    until = spec.budget.until
    waits = report.paused and until is not None and state is TrialState.COMPLETE
    return outcomes.pause(_compared(outcome, until)) if waits and until is not None else outcome


def _compared(told: Outcome, until: int) -> Outcome:
    """What a training that waits is compared by, also where its program keeps no history."""
    point = HistoryPoint(epoch=until - 1, step=told.steps or 0, value=told.value)
    history = told.history or [point]
    best = told.best if told.best is not None else told.value
    return replace(told, history=history, best=best, epochs=history[-1].epoch + 1)
