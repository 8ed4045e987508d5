"""Run a trial once, whatever happened before: trial.json in, result.json out.

::

    trial.json     what to train (a `Specification`: `TrialSpec`, `ArraySpec`)
    result.json    how it went (`TrialResult`), written last and whole
    log.txt        output of the trainer
    ...            the trainer's own files

A finished trial is not run again. What a killed job left behind is ended and cleared away, or taken up where it was.
A training whose budget has an epoch to wait after is preempted there (`ml_suite.trainers.outcome.paused`): `run` it
with a later one and it goes on, or `prune` it.
"""

from __future__ import annotations

import fcntl
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study import halving
from ml_suite.study.contract import Specification, TrialResult, TrialState
from ml_suite.trainers import outcome as outcomes
from ml_suite.trainers import process, steps, warm
from ml_suite.trainers.anemoi import Anemoi
from ml_suite.trainers.command import Command
from ml_suite.trainers.outcome import Outcome, Trainer
from ml_suite.trainers.process import Ended, Stop

FINAL = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED})
"""States that running the same trial again cannot change."""

_TRAINERS: dict[str, Trainer[Any]] = {"anemoi": Anemoi(), "command": Command()}
_LOCK, _SPEC, _RESULT = "lock", "trial.json", "result.json"


def run(spec: Specification, stop: Event, progress: Callable[[float], None] | None = None) -> TrialResult:
    """Train, unless the trial's folder holds its final result already.

    A training killed by a signal that did not come from us is tried once more; the second time it has failed, most
    likely for want of memory.

    Parameters
    ----------
    stop
        Set it to stop the training; the trial is then preempted.
    progress
        Told the share of the budget that is used, when it changes.

    Raises
    ------
    StudyError
        If the job was told to stop while another job ran this trial, or has no room for its ranks.
    """
    with _alone(spec.output, stop):
        if (known := finished(spec)) is not None:
            return _so_far(spec, known)
        result, ended = _attempt(spec, stop, progress)
        if _killed(result, ended):
            result, ended = _attempt(spec, stop, progress)
            if _killed(result, ended):
                reason = f"{result.reason} twice, perhaps for want of memory"
                result = result.model_copy(update={"state": TrialState.FAILED, "reason": reason})
        result.save(spec.output / _RESULT)
        return _so_far(spec, result)


def prune(spec: Specification, after: int) -> TrialResult:
    """Cut a training that waits, or trained on although it was to wait: others were better.

    Parameters
    ----------
    after
        Epochs that count.

    Raises
    ------
    StudyError
        If the folder has no result of this trial.
    """
    result = _known(spec)
    if result is None:
        raise StudyError(f"there is no result of trial {spec.trial} in {spec.output}", "Train it first.")
    until = spec.budget.model_copy(update={"until": after})
    if outcomes.paused(_so_far(spec.model_copy(update={"budget": until}), result)):
        result = halving.pruned(result, after, spec.direction)
        result.save(spec.output / _RESULT)
    return result


def _so_far(spec: Specification, result: TrialResult) -> TrialResult:
    """Let a training wait that did not heed that it was to: who is cut must not depend on what came later.

    A program may overlook it, above all when it takes up a training that was killed just there.
    """
    until = spec.budget.until
    ended = result.state in (TrialState.COMPLETE, TrialState.DIVERGED) and not result.stopped_early
    if until is None or not ended or (result.epochs or 0) <= until:
        return result
    before = [point.value for point in result.history if point.epoch < until]
    if not before or before[-1] is None:
        return result
    return result.model_copy(
        update={"state": TrialState.PREEMPTED, "reason": f"{outcomes.PAUSED} {until} epochs", "value": None}
    )


def finished(spec: Specification) -> TrialResult | None:
    """Final result of the same trial, or the one with which it waits where it was told to."""
    result = _known(spec)
    if result is None or result.state in FINAL:
        return result
    until = spec.budget.until
    waits = until is not None and outcomes.paused(result) and (result.epochs or 0) >= until
    return result if waits else None


def same(spec: Specification) -> bool:
    """Tell whether the folder belongs to this trial; walltime, a pause and places do not matter."""
    try:
        return _identity(type(spec).load(spec.output / _SPEC)) == _identity(spec)
    except (OSError, ValueError):
        return False


def _known(spec: Specification) -> TrialResult | None:
    if not same(spec):
        return None
    try:
        return TrialResult.load(spec.output / _RESULT)
    except (OSError, ValueError):
        return None


def _identity(spec: Specification) -> dict[str, Any]:
    # the contents of configuration and data are part of the study; where they lie changes with every deploy
    places = {"environment", "output", "config", "members", "normalisation"}
    told = spec.model_dump(mode="json", exclude=places)
    for moved in ("dataset", "arrays"):
        if moved in told:
            del told[moved]["path"]
    for changing in ("walltime", "until"):
        del told["budget"][changing]
    return told


def _attempt(
    spec: Specification, stop: Event, progress: Callable[[float], None] | None
) -> tuple[TrialResult, Ended]:
    trainer = _TRAINERS.get(spec.trainer)
    if trainer is None:
        raise StudyError(f"trainer {spec.trainer} has no program of its own to start for each trial")
    ranks = trainer.ranks(spec)
    place = steps.placement(ranks)
    process.sweep(spec.output)
    steps.end(spec.output)
    earlier = _prepare(spec, trainer)
    started = datetime.now(UTC)
    try:
        launch = trainer.launch(spec, place)
        if place:
            pid = process.spawn(steps.over(launch, place))
        else:
            pid = (warm.fork if ranks == 1 and warm.possible(spec) else process.spawn)(launch)
    except OSError as error:
        ended = Ended(1, Stop.ITSELF, 0.0, 0.0)
        outcome = Outcome(TrialState.FAILED, f"the trainer cannot be started: {error}")
        return _result(spec, outcome, started, ended), ended
    ask = partial(steps.ask, spec.output) if place else process.terminate
    ended = process.watch(pid, _left(spec, earlier), stop, _ticker(spec, trainer, progress), ask)
    ended = steps.told(spec.output, ended) if place else ended
    outcome = trainer.outcome(spec, ended)
    if earlier is not None:
        outcome, ended = _whole(spec, earlier, outcome, ended)
    return _result(spec, outcome, started, ended), ended


def _prepare(spec: Specification, trainer: Trainer[Any]) -> TrialResult | None:
    """Clear the folder unless its training can go on; return how far it was."""
    if same(spec) and trainer.resumable(spec.output):
        earlier = _known(spec)
        if earlier is None or not outcomes.paused(earlier):
            (spec.output / _RESULT).unlink(missing_ok=True)
        spec.save(spec.output / _SPEC)
        return earlier
    for path in spec.output.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
    spec.save(spec.output / _SPEC)
    return None


def _left(spec: Specification, earlier: TrialResult | None) -> float | None:
    """Seconds that a training may take; a pause uses none, and what was lost to a kill does not count."""
    whole = spec.budget.walltime
    if whole is None or earlier is None or not outcomes.paused(earlier):
        return whole
    return max(0.0, whole - earlier.seconds)


def _whole(
    spec: Specification, earlier: TrialResult, outcome: Outcome, ended: Ended
) -> tuple[Outcome, Ended]:
    """All parts of a training as one."""
    first = min((point.epoch for point in outcome.history), default=None)
    before = [point for point in earlier.history if first is None or point.epoch < first]
    values = [earlier.best, outcome.best]
    better = min if spec.direction == "minimize" else max
    best = better((value for value in values if value is not None), default=None)
    times = (ended.cpu_seconds, earlier.cpu_seconds)
    cpu = None if None in times else sum(time for time in times if time is not None)
    return (
        replace(outcome, history=[*before, *outcome.history], best=best if before else outcome.best),
        replace(ended, seconds=ended.seconds + earlier.seconds, cpu_seconds=cpu),
    )


def _result(spec: Specification, outcome: Outcome, started: datetime, ended: Ended) -> TrialResult:
    shared = spec.model_dump(include={"study", "trial", "step", "replicate", "params", "metric"})
    fields = {name: getattr(outcome, name) for name in asdict(outcome)}
    return TrialResult(
        **shared,
        **fields,
        seconds=round(ended.seconds, 3),
        cpu_seconds=None if ended.cpu_seconds is None else round(ended.cpu_seconds, 3),
        started=started,
        ended=datetime.now(UTC),
        host=platform.node(),
    )


def _killed(result: TrialResult, ended: Ended) -> bool:
    return result.state is TrialState.PREEMPTED and ended.stop is Stop.ITSELF and ended.killed_by is not None


def _ticker(
    spec: Specification, trainer: Trainer[Any], progress: Callable[[float], None] | None
) -> Callable[[], None]:
    """Report progress about once a second and only when it moved."""
    last, due = -1.0, 0.0

    def tick() -> None:
        nonlocal last, due
        if progress is None or time.monotonic() < due:
            return
        due = time.monotonic() + 1.0
        if (share := trainer.progress(spec)) != last:
            last = share
            progress(share)

    return tick


@contextmanager
def _alone(folder: Path, stop: Event) -> Iterator[None]:
    """Hold the trial: two jobs never train it at once, and a killed one holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        while True:
            try:
                # a record lock: unlike flock it does not stay with children that outlive this process
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                if stop.wait(0.5):
                    raise StudyError(f"told to stop while another job runs the trial in {folder}") from None
                continue
            break
        yield
