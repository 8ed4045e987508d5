"""The outbox: parcels that jobs leave on the host's disk and the courier delivers.

A training talks neither to MLflow nor to an object store. What it has to tell lies in a parcel, one JSON file written
whole, whose name follows from study, step, trial and replicate: leaving it again replaces it, delivering it again
changes nothing. By name, a study comes before its checkpoints, and those before the runs that refer to them. Beside the
ecFlow server the outboxes of all hosts are delivered as one; each keeps its own receipts.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from ml_suite.study import record
from ml_suite.study.contract import Document, TrialResult

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_STUDY = ".0-study.json"


class Point(Document):
    """One value of a metric."""

    key: str
    value: float
    step: int
    time: int
    """Milliseconds since 1970."""


class RunParcel(Document):
    """An MLflow run: of a trial, or of the study that is the parent of its trials' runs."""

    kind: Literal["run"] = "run"
    id: str
    """``STUDY``, ``STUDY/STEP/TRIAL`` or ``STUDY/STEP/TRIAL-rREPLICATE``; the run is found again by it."""
    study: str
    step: int | None = None
    trial: int | None = None
    replicate: int = 0
    experiment: str
    name: str
    status: Status
    started: datetime
    ended: datetime | None = None
    params: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: list[Point] = Field(default_factory=list)

    @property
    def file(self) -> str:
        """Name in the outbox."""
        if self.step is None:
            return f"{self.study}{_STUDY}"
        return f"{self.study}.2-run-{self.step}-{self.trial:05d}{again(self.replicate)}.json"


class CheckpointParcel(Document):
    """Weights for the object store."""

    kind: Literal["checkpoint"] = "checkpoint"
    study: str
    step: int
    trial: int
    replicate: int = 0
    path: Path
    url: str
    """``s3://bucket/key``."""
    sha256: str
    size: int
    uuid: str | None = None

    @property
    def file(self) -> str:
        """Name in the outbox."""
        return f"{self.study}.1-checkpoint-{self.step}-{self.trial:05d}{again(self.replicate)}.json"


Parcel = RunParcel | CheckpointParcel


class _AnyParcel(RootModel[Annotated[Parcel, Field(discriminator="kind")]]):
    """Reads either kind."""


class DeliveredRun(Document):
    """A run as the tracking server knows it."""

    study: str
    step: int | None
    """None for the study's own run."""
    trial: int | None
    replicate: int = 0
    run_id: str
    experiment_id: str
    url: str
    """Page of the run."""


class DeliveredCheckpoint(Document):
    """Weights as the object store has them."""

    study: str
    step: int
    trial: int
    replicate: int = 0
    url: str
    sha256: str
    size: int
    uuid: str | None


class Receipt(Document):
    """What became of a parcel."""

    parcel: str
    """SHA-256 of the parcel that was delivered; another one under the same name is delivered again."""
    run: DeliveredRun | None = None
    checkpoint: DeliveredCheckpoint | None = None


class Deliveries(Document):
    """deliveries.json: where a study's results are."""

    study: str
    tracking_uri: str
    experiment: str
    parent: DeliveredRun | None
    runs: list[DeliveredRun]
    checkpoints: list[DeliveredCheckpoint]

    def run(self, of: TrialResult) -> DeliveredRun | None:
        """Run of a training."""
        return next((r for r in self.runs if (r.step, r.trial, r.replicate) == record.key(of)), None)

    def checkpoint(self, of: TrialResult) -> DeliveredCheckpoint | None:
        """Weights of a training."""
        return next((c for c in self.checkpoints if (c.step, c.trial, c.replicate) == record.key(of)), None)


def again(replicate: int) -> str:
    """End of the name of a training with another seed."""
    return f"-r{replicate}" if replicate else ""


def leave(outbox: Path, parcel: Parcel) -> None:
    """Put a parcel in the outbox, or replace it."""
    parcel.save(outbox / parcel.file)


def current(*outboxes: Path) -> list[Path]:
    """Parcels in the order of delivery; of a trial that ran at several hosts those of the run that ended last."""
    named: dict[str, list[Path]] = {}
    for path in (path for outbox in outboxes for path in outbox.glob("*.json")):
        named.setdefault(path.name, []).append(path)
    return [paths[0] if len(paths) == 1 else max(paths, key=_ended) for _, paths in sorted(named.items())]


def waiting(*outboxes: Path) -> list[Path]:
    """Parcels of `current` that have no receipt."""
    return [path for path in current(*outboxes) if _unsent(path)]


def load(path: Path) -> Parcel:
    """Read a parcel."""
    return _AnyParcel.model_validate_json(path.read_bytes()).root


def digest(path: Path) -> str:
    """SHA-256 of a parcel as it lies there."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sign(path: Path, receipt: Receipt) -> None:
    """Leave the receipt of a delivered parcel."""
    receipt.save(_receipt(path))


def receipts(*outboxes: Path) -> list[Receipt]:
    """Receipts of all deliveries of `current`, in the order of their parcels."""
    return [Receipt.load(_receipt(path)) for path in current(*outboxes) if _receipt(path).exists()]


def announced(study: str, *outboxes: Path) -> bool:
    """Whether the study's own run was delivered once: runs of its trials refer to it."""
    return any(_receipt(outbox / f"{study}{_STUDY}").exists() for outbox in outboxes)


def _ended(path: Path) -> datetime:
    """When the run ended that a parcel is of; a checkpoint's stands beside it."""
    never = datetime.min.replace(tzinfo=UTC)
    try:
        parcel = load(path.with_name(path.name.replace(".1-checkpoint-", ".2-run-")))
    except (OSError, ValueError):
        return never
    return (isinstance(parcel, RunParcel) and parcel.ended) or never


def _receipt(parcel: Path) -> Path:
    return parcel.parent / "receipts" / parcel.name


def _unsent(path: Path) -> bool:
    try:
        return Receipt.load(_receipt(path)).parcel != digest(path)
    except (OSError, ValueError):
        return True
