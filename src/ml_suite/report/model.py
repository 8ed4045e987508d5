"""The report as a document; its members are the keys of ``ml-suite report --json``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from ml_suite.evaluation.scores import Evaluation
from ml_suite.lineage.training import TrainingMetadata
from ml_suite.study.contract import Document, HistoryPoint, TrialState


class Row(Document):
    """One training: a trial of step 1, a candidate of step 2, or the only one."""

    step: int
    trial: int
    rank: int | None = None
    """Among the complete trials of its step, 1 is the best."""
    state: TrialState
    reason: str = ""
    value: float | None
    best: float | None = None
    params: dict[str, Any]
    parameters: int | None = None
    seconds: float
    host: str
    started: datetime
    history: list[HistoryPoint] = Field(default_factory=list)
    winner: bool = False


class StepCost(Document):
    """Time that one step took, all trainings added up, failed ones too."""

    step: int
    trainings: int
    seconds: float
    gpu_hours: float
    """0 on hosts without GPUs."""
    cpu_hours: float | None
    """None when a trainer did not say."""


class Cost(Document):
    """Two steps against one."""

    steps: list[StepCost]
    seconds: float
    """Of both steps."""
    one_step_seconds: float | None
    """Estimate: all trials trained as long as a candidate of step 2 took on average."""
    share: float | None
    """Both steps as a share of that estimate."""


class Failure(Document):
    """Trainings that are not complete, one line for each reason."""

    step: int
    state: TrialState
    reason: str
    trials: list[int]


class Account(Document):
    """Where the trials of a step are; the numbers add up to `planned`."""

    step: int
    planned: int
    states: dict[str, int]
    """By state, and ``not run`` for those without a record."""


class Links(Document):
    """Addresses for a person."""

    mlflow: str | None = None
    catalogue: str | None = None
    ecflow: str | None = None
    objects: dict[str, str] = Field(default_factory=dict)
    """S3 addresses by what they hold."""


class Report(Document):
    """Everything that the report shows."""

    version: Literal[1] = 1
    suite: str
    cycle: str
    made: datetime
    state: Literal["empty", "running", "selected", "evaluated", "registered"]
    missing: list[str]
    """What is not there yet, in words."""
    study: str | None = None
    metric: str | None = None
    direction: Literal["minimize", "maximize"] = "minimize"
    seed: int | None = None
    subset: float | None = None
    keep: int | None = None
    dataset: str | None = None
    samples: dict[str, int] = Field(default_factory=dict)
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
    winner: Row | None = None
    step1_value: float | None = None
    """What the winner reached in step 1."""
    rows: list[Row] = Field(default_factory=list)
    account: list[Account] = Field(default_factory=list)
    failures: list[Failure] = Field(default_factory=list)
    rank_correlation: float | None = None
    """Kendall's tau between step 1 and step 2 over the candidates; None below three."""
    cost: Cost | None = None
    evaluation: Evaluation | None = None
    training: TrainingMetadata | None = None
    """What the catalogue was told."""
    links: Links = Links()

    def of_step(self, step: int) -> list[Row]:
        """Rows of one step by trial."""
        return [row for row in self.rows if row.step == step]
