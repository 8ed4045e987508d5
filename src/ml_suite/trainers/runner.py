"""Run a trial once, whatever happened before: trial.json in, result.json out.

::

    trial.json     what to train (`TrialSpec`)
    result.json    how it went (`TrialResult`), written last and whole
    log.txt        output of the trainer
    ...            the trainer's own files

A finished trial is not run again. What a killed job left behind is ended and cleared away, or taken up where it was.
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

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialResult, TrialSpec, TrialState
from ml_suite.trainers import process, steps, warm
from ml_suite.trainers.anemoi import Anemoi
from ml_suite.trainers.command import Command
from ml_suite.trainers.outcome import Outcome, Trainer
from ml_suite.trainers.process import Ended, Stop

FINAL = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED})
"""States that running the same trial again cannot change."""

_TRAINERS: dict[str, Trainer] = {"anemoi": Anemoi(), "command": Command()}
_LOCK, _SPEC, _RESULT = "lock", "trial.json", "result.json"


def run(spec: TrialSpec, stop: Event, progress: Callable[[float], None] | None = None) -> TrialResult:
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
            return known
        result, ended = _attempt(spec, stop, progress)
        if _killed(result, ended):
            result, ended = _attempt(spec, stop, progress)
            if _killed(result, ended):
                reason = f"{result.reason} twice, perhaps for want of memory"
                result = result.model_copy(update={"state": TrialState.FAILED, "reason": reason})
        result.save(spec.output / _RESULT)
        return result


def finished(spec: TrialSpec) -> TrialResult | None:
    """Final result of the same trial."""
    if not same(spec):
        return None
    try:
        result = TrialResult.load(spec.output / _RESULT)
    except (OSError, ValueError):
        return None
    return result if result.state in FINAL else None


def same(spec: TrialSpec) -> bool:
    """Tell whether the folder belongs to this trial; walltime and places do not matter."""
    try:
        return _identity(TrialSpec.load(spec.output / _SPEC)) == _identity(spec)
    except (OSError, ValueError):
        return False


def _identity(spec: TrialSpec) -> TrialSpec:
    budget = spec.budget.model_copy(update={"walltime": None})
    # the configuration's content is part of the study; where it lies changes with every deploy
    return spec.model_copy(update={"budget": budget, "environment": Path(), "output": Path(), "config": None})


def _attempt(
    spec: TrialSpec, stop: Event, progress: Callable[[float], None] | None
) -> tuple[TrialResult, Ended]:
    trainer = _TRAINERS[spec.trainer]
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
    ended = process.watch(pid, spec.budget.walltime, stop, _ticker(spec, trainer, progress), ask)
    ended = steps.told(spec.output, ended) if place else ended
    outcome = trainer.outcome(spec, ended)
    ended = replace(ended, seconds=ended.seconds + earlier)
    return _result(spec, outcome, started, ended), ended


def _prepare(spec: TrialSpec, trainer: Trainer) -> float:
    """Clear the folder unless its training can go on; return the seconds that were trained before."""
    if same(spec) and trainer.resumable(spec.output):
        try:
            seconds = TrialResult.load(spec.output / _RESULT).seconds
        except (OSError, ValueError):
            seconds = 0.0
        (spec.output / _RESULT).unlink(missing_ok=True)
        return seconds
    for path in spec.output.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
    spec.save(spec.output / _SPEC)
    return 0.0


def _result(spec: TrialSpec, outcome: Outcome, started: datetime, ended: Ended) -> TrialResult:
    shared = spec.model_dump(include={"study", "trial", "step", "params", "metric"})
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
    spec: TrialSpec, trainer: Trainer, progress: Callable[[float], None] | None
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
