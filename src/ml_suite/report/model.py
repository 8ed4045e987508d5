"""The report as a document; its members are the keys of ``ml-suite report --json``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from ml_suite.evaluation.scores import Evaluation
from ml_suite.lineage.training import TrainingMetadata
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Document, HistoryPoint, TrialState


class Row(Document):
    """One training: a trial of step 1, a candidate of step 2, or the only one."""

    step: int
    trial: int
    replicate: int = 0
    """Above 0: the same trial with another seed."""
    rank: int | None = None
    """Among the complete trials of its step, 1 is the best."""
    role: Literal["ranked", "pareto", "control", "narrowed"] | None = None
    """Why its trial was chosen for step 2."""
    state: TrialState
    reason: str = ""
    value: float | None
    best: float | None = None
    params: dict[str, Any]
    depth: int | None = None
    """Hidden layers, where the hyperparameters tell."""
    parameters: int | None = None
    inference_seconds: float | None = None
    """Of one sample on one core."""
    epochs: int | None = None
    seconds: float
    host: str
    started: datetime
    history: list[HistoryPoint] = Field(default_factory=list)
    winner: bool = False


class Prediction(Document):
    """Truth and prediction of one output on the test samples, counted in hexagons of equal width."""

    model: str
    """Which weights: the winner, a trial, or a scheme that it is compared with."""
    output: str
    truth: list[float]
    """Centres of the hexagons that are not empty."""
    predicted: list[float]
    counts: list[int]
    width: float
    height: float
    samples: int
    mse: float
    r2: float | None
    """Coefficient of determination; 1 is perfect, 0 no better than the mean; None where the truth does not vary."""


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
    """Of both steps and the pilot."""
    one_step_seconds: float | None
    """Estimate: every trial trained once on everything."""
    share: float | None
    """The study as a share of that estimate."""
    method: str = ""
    """How it was estimated."""
    pilot: StepCost | None = None
    """Trainings behind the certificate; counted in `seconds`."""


class CostModel(Document):
    """Cost of other choices of the two shares, relative to training every trial on everything."""

    subset: float
    """Share of the data in step 1."""
    keep: float
    """Share of the trials in step 2, controls and other seeds among them."""
    step1: float
    """Cost of a trial in proportion to its data; below 1 when trials of step 1 are shorter or stop early."""
    overhead: float
    """Cost of a trial whatever its data."""
    step2: float
    """Cost of a training of step 2; above 1 when candidates are larger than the trials on average."""
    pilot: float
    """Cost of the pilot for each trial; 0 without one."""
    full_seconds: float
    """One training on all data, estimated over all trials; the unit of the others."""
    measured: float | None = None
    """Cost of both steps."""


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
    kind: Literal["deployment", "study"] = "deployment"
    """A deployed suite, or a study that ran on one machine."""
    suite: str
    """Name of the suite, or of the study where there is none."""
    cycle: str = ""
    """Empty where there are no cycles."""
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
    trials: int | None = None
    sampling: str | None = None
    epochs: dict[str, int] = Field(default_factory=dict)
    """Most epochs of a training of `step1` and `step2`."""
    rungs: list[int] = Field(default_factory=list)
    """Epochs after which trials of step 1 were cut."""
    trainer: str | None = None
    dataset: str | None = None
    samples: dict[str, int] = Field(default_factory=dict)
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
    winner: Row | None = None
    value: float | None = None
    """What the winner reached; a mean where it was trained with several seeds."""
    step1_value: float | None = None
    """What the winner reached in step 1."""
    replicates: list[float] = Field(default_factory=list)
    """What the winner reached with each seed, where it was trained several times."""
    judged: str = ""
    """How its value follows from them."""
    test: dict[str, float] = Field(default_factory=dict)
    """The winner on samples that decided nothing, by the trainer's names."""
    reason: str = ""
    """Why the winner is not the one with the best value, when they differ."""
    warnings: list[str] = Field(default_factory=list)
    """What speaks against the winner."""
    rows: list[Row] = Field(default_factory=list)
    account: list[Account] = Field(default_factory=list)
    failures: list[Failure] = Field(default_factory=list)
    rank_correlation: float | None = None
    """Kendall's tau between step 1 and step 2 over the candidates; None below three."""
    cost: Cost | None = None
    cost_model: CostModel | None = None
    certificate: Certificate | None = None
    predictions: list[Prediction] = Field(default_factory=list)
    evaluation: Evaluation | None = None
    training: TrainingMetadata | None = None
    """What the catalogue was told."""
    links: Links = Links()

    def of_step(self, step: int) -> list[Row]:
        """Rows of one step by trial."""
        return [row for row in self.rows if row.step == step]
