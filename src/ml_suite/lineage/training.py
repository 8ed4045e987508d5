"""The catalogue's `trainings` entry of a suite: what `register` writes and everything else reads.

The catalogue enforces nothing here; these models are the agreement. Unknown members are ignored, so that an
older ml-suite can read what a newer one wrote.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A piece of the entry's metadata."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredObject(Part):
    """An object in S3 and what it must contain."""

    s3: str
    """``s3://bucket/key``."""
    sha256: str
    size: int
    """Bytes."""


class CheckpointLink(StoredObject):
    """Weights in S3."""

    uuid: str
    """As inside the file."""


class DatasetLink(Part):
    """Data of the training."""

    name: str
    uuid: str
    manifest: str
    """SHA-256 of the content manifest."""


class MlflowLink(Part):
    """The run that trained the weights, on the tracking server."""

    tracking_uri: str
    experiment: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None


class SearchLink(Part):
    """Where in the search the weights come from."""

    study: str
    step: int
    trial: int
    params: dict[str, Any]
    metric: str
    value: float
    """Metric on the validation period after the last training."""
    step1_value: float | None = None


class SourceFile(Part):
    """A file under version control."""

    path: str
    sha256: str
    commit: str | None = None
    blob: str | None = None
    dirty: bool = False
    remote: str | None = None


class Sources(Part):
    """The files that decided what was trained."""

    recipe: SourceFile
    config: SourceFile | None = None
    deployment: SourceFile


class EvaluationLink(Part):
    """Scores on the test period."""

    scores: StoredObject
    """scores.json."""
    figures: dict[str, StoredObject] = {}
    """By ending: png, svg."""
    weights: CheckpointLink | None = None
    """What was judged."""
    metric: str
    loss: float | None = None
    """The trainer's metric on the test period."""
    skill: float | None = None
    """Mean over variables and lead times of 1 - rmse / rmse of persistence."""
    start: datetime
    end: datetime
    summary: str


class Version(Part):
    """Outcome of one cycle."""

    cycle: str
    checkpoint: CheckpointLink | None
    run_id: str | None
    """The trainer's own run id, which the checkpoint carries."""
    study: str
    trial: int
    value: float
    loss: float | None
    trained: datetime
    """End of the training."""
    promoted: bool
    reason: str
    """Why it was promoted, or not."""


class TrainingMetadata(Part):
    """Member `metadata` of the entry."""

    uuid: str
    name: str
    suite: str
    cycle: str
    run_id: str | None
    mlflow: MlflowLink
    datasets: list[DatasetLink]
    weights: list[str]
    """Uuids of all versions, oldest first."""
    promoted: str | None
    """Uuid of the weights in use."""
    history: list[Version]
    """Oldest first."""
    hpo: SearchLink
    ecflow_path: str
    host: str
    git: Sources
    evaluation: EvaluationLink | None
    checkpoint: CheckpointLink | None
    """Of the latest cycle's winner."""
    archive: StoredObject | None = Field(default=None)
    """The study's record, plans and logs."""
    software: dict[str, str] = {}
    environment: dict[str, Any] = {}
    """What the latest winner was trained with, as the set-up of its host found it."""

    def incumbent(self, excluding: str | None) -> Version | None:
        """Version in use before EXCLUDING was; None if there was none."""
        promoted = [v for v in self.history if v.promoted and v.checkpoint is not None]
        others = [v for v in promoted if v.checkpoint is not None and v.checkpoint.uuid != excluding]
        return others[-1] if others else None


def entry_uuid(suite: str) -> str:
    """Identity of a suite's entry: the same whenever and wherever it is written."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"ml-suite:{suite}"))


class Registered(Part):
    """registered.json: what the register task told the catalogue, and the keys by which it is found."""

    training: str
    """Key in the collection `trainings`."""
    weights: str | None
    """Key in the collection `weights`."""
    promoted: bool
    reason: str
    catalogue_page: str | None = None
    mlflow_page: str | None = None
    metadata: TrainingMetadata
