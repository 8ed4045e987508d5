"""What a trainer makes of an ended training; `ml_suite.trainers.runner` adds the rest of result.json."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from ml_suite.hosts.ranks import ENDED, Placement
from ml_suite.study.contract import Checkpoint, HistoryPoint, Specification, TrialResult, TrialState
from ml_suite.trainers.process import Ended, Launch, Stop


@dataclass(frozen=True)
class Outcome:
    """The trainer's part of a `TrialResult`; the names are the same."""

    state: TrialState
    reason: str = ""
    value: float | None = None
    best: float | None = None
    history: list[HistoryPoint] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    parameters: int | None = None
    epochs: int | None = None
    steps: int | None = None
    stopped_early: bool = False
    inference_seconds: float | None = None
    effective_lr: float | None = None
    global_batch: int | None = None
    run_id: str | None = None
    checkpoint: Checkpoint | None = None
    resume: Checkpoint | None = None


S = TypeVar("S", bound=Specification, contravariant=True)


class Trainer(Protocol[S]):
    """One kind of training."""

    def ranks(self, spec: S) -> int:
        """Count the processes of the training, one per GPU."""

    def launch(self, spec: S, place: Placement | None) -> Launch:
        """Return the program to run, one rank of it; trial.json lies in its folder.

        Parameters
        ----------
        place
            Where its ranks will be started; None: it is started once, on this machine.
        """

    def resumable(self, folder: Path) -> bool:
        """Tell whether a stopped training of the folder can go on where it was."""

    def progress(self, spec: S) -> float:
        """Share of the budget that is used, 0 to 1."""

    def outcome(self, spec: S, ended: Ended) -> Outcome:
        """Read what the training left in its folder; one that reached `until` is `pause`."""


def pause(told: Outcome) -> Outcome:
    """Outcome of a training that reached the epoch after which it had to wait, and can go on."""
    reason = f"{PAUSED} {told.epochs} epoch{'' if told.epochs == 1 else 's'}"
    return replace(told, state=TrialState.PREEMPTED, reason=reason)


def paused(result: TrialResult) -> bool:
    """Tell whether a training waits where it was told to, rather than having been stopped."""
    return result.state is TrialState.PREEMPTED and result.reason.startswith(PAUSED)


def interrupted(spec: Specification, ended: Ended) -> Outcome | None:
    """Outcome of a training that was stopped from outside."""
    if ended.stop is Stop.JOB:
        return Outcome(TrialState.PREEMPTED, "stopped because its job was told to stop")
    if ended.stop is Stop.WALLTIME:
        return Outcome(TrialState.FAILED, f"{LATE} its walltime of {spec.budget.walltime:g} s")
    if ended.stop is Stop.START:
        words = last_words(spec.output / "log.txt")
        return Outcome(TrialState.PREEMPTED, f"the scheduler did not start its ranks: {words}")
    if ended.stop is Stop.NODE:
        return Outcome(TrialState.PREEMPTED, f"a node of the job does not answer any more{ended.where}")
    if ended.killed_by:
        return Outcome(TrialState.PREEMPTED, f"killed by {ended.killed_by}{ended.where}")
    return None


def failed(spec: Specification, ended: Ended, what: str = "") -> Outcome:
    """Outcome of a training that ended with an error, in the words of its log."""
    words = last_words(spec.output / "log.txt", ended.rank)
    return Outcome(TrialState.FAILED, f"exit code {ended.code}{ended.where}{what}: {words}")


def absent(metric: str, seen: set[str]) -> Outcome:
    """Outcome of a training that never reported the metric to optimise."""
    names = ", ".join(sorted(seen)) or "nothing"
    return Outcome(TrialState.FAILED, f"{ABSENT} {metric!r}; it reported {names}")


ABSENT = "the training never reported the metric"
"""How the reason of a failure begins that no other trial can escape."""

LATE = "took longer than"
"""How the reason of a trial begins that its walltime ended."""

PAUSED = "waits after"
"""How the reason of a trial begins that a cut comes before."""


def never_trained(result: TrialResult) -> bool:
    """Tell whether a training failed before it had any value, and not for its length."""
    late = result.reason.startswith(LATE)
    return result.state is TrialState.FAILED and not result.history and not late


def finite(number: float | None) -> float | None:
    """Return the number; None for NaN and infinities."""
    return number if number is not None and math.isfinite(number) else None


def best(history: list[HistoryPoint], direction: str) -> float | None:
    """Best value of a history."""
    values = [point.value for point in history if point.value is not None]
    return (min(values) if direction == "minimize" else max(values)) if values else None


def checkpoint(path: Path, uuid: str | None = None) -> Checkpoint | None:
    """Describe a file of weights; None if there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return Checkpoint(path=path, sha256=digest, size=path.stat().st_size, uuid=uuid)


def last_words(log: Path, rank: int | None = None) -> str:
    """Line of a log that tells best why the program failed.

    Parameters
    ----------
    rank
        Whose lines count, where each begins with the number of its rank.
    """
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    if rank is not None:
        labelled = (line.partition(":") for line in lines)
        lines = [text.strip() for label, _, text in labelled if label.isdigit() and int(label) == rank]
    said = (line.partition(ENDED)[0].strip() for line in lines)
    lines = [line for line in said if line not in ("", _TRACEBACK)] or lines
    errors = [line for line in lines[-60:] if _is_error(line)]
    return (errors or lines or ["an empty log"])[-1][:300]


_TRACEBACK = "Traceback (most recent call last):"
"""Says nothing of what went wrong."""


def _is_error(line: str) -> bool:
    word = line.split(":", 1)[0].split(" ", 1)[0]
    return word.endswith(("Error", "Exception", "error", "Interrupt", "Exit"))
