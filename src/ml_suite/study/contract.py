"""What a study, a trial and its result are: the files that every trainer reads and writes.

A trainer gets ``trial.json`` (`TrialSpec`) and leaves ``result.json`` (`TrialResult`) in the trial's folder. An exit
code proves nothing: without a readable result the trial has failed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ml_suite import atomic


class TrialState(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    """The budget was used up and the metric is a finite number."""
    PRUNED = "pruned"
    """Stopped early because others were better."""
    DIVERGED = "diverged"
    """The metric became NaN or infinite."""
    FAILED = "failed"
    """The trainer stopped with an error, or left no result."""
    PREEMPTED = "preempted"
    """Stopped from outside (walltime, kill, node failure); running it again may succeed."""


class Document(BaseModel):
    """A JSON file that is replaced whole or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def save(self, path: Path) -> None:
        """Write atomically: temporary file, fsync, rename."""
        atomic.write(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check the file."""
        return cls.model_validate_json(path.read_bytes())


class DatasetRef(Document):
    """The data of a study."""

    name: str
    path: Path
    """Local copy that trainings read."""
    uuid: str
    """Anemoi's identity of the dataset."""
    manifest: str
    """SHA-256 of the content manifest, hexadecimal."""


class Span(Document):
    """Dates, both ends included."""

    start: datetime
    end: datetime


class Split(Document):
    """Periods of a study; the validation and test periods are the same in both steps."""

    training: Span
    subset: Span
    """Part of the training period that step 1 uses, from its first to its last date."""
    validation: Span
    test: Span
    blocks: list[Span] = []
    """What of the subset is used, where it is not all of it: ascending, with a date at least between each two."""
    members: str = ""
    """SHA-256 of the reference dates of the subset's samples, one a line, hexadecimal."""


class Layout(Document):
    """Data-parallel layout of one training, so that step 2 stays the configuration of step 1."""

    replicas: int = Field(gt=0)
    """Model copies that share a batch."""
    reference: int = Field(gt=0)
    """Replicas of step 1, for which learning rate and batch size of the space are stated."""


class Budget(Document):
    """When a training stops."""

    epochs: int = Field(gt=0)
    """Full length, for which a schedule of the learning rate is made."""
    until: int | None = None
    """Epoch after which the training pauses, to go on later where it was; None: it runs to its end."""
    patience: int | None = None
    """Optimiser steps without a better value after which it ends."""
    walltime: float | None = None
    """Seconds."""


class Cuts(Document):
    """Successive halving among all trials of a stage."""

    at: list[int]
    """Epochs after which those that compete are cut, ascending."""
    keep: float
    """Part that goes on after each cut."""


class Rungs(Cuts):
    """Successive halving inside step 1, in cohorts of `cohort` trials with neighbouring numbers."""

    cohort: int


class Choice(Document):
    """How candidates and winner are chosen; may change while a study runs."""

    by: Literal["rank", "pareto"] = "rank"
    against: Literal["parameters", "inference"] = "parameters"
    filter: str | None = None
    controls: int = 0
    finalists: int = 0
    replicates: int = 1
    select: str = "best"
    narrow: int | None = None
    rungs: Cuts | None = None
    """Cuts among the candidates of step 2."""

    def again(self, candidates: int | None = None) -> int:
        """Trainings of finalists with other seeds, where there are so many candidates; default: enough."""
        finalists = self.finalists if candidates is None else min(self.finalists, candidates)
        return finalists * (self.replicates - 1)


class SearchPlan(Document):
    """What the two steps need to know of a frozen study, whatever its data are."""

    study: str
    """SHA-256 over everything below that decides what a trial does, first 16 hexadecimal digits; how far the study
    goes (`trials`, `keep`, `shards` and all of `choice`) and where its data lie are left out."""
    suite: str
    """Name of the suite, or of the study where there is none."""
    metric: str
    direction: Literal["minimize", "maximize"]
    seed: int
    space: dict[str, dict[str, Any]]
    constraints: list[str] = []
    sampling: str = "random"
    """random, sobol, grid, or optuna:SAMPLER."""
    rounds: int = 1
    """Of an adaptive sampler."""
    trials: int
    keep: int
    subset: float
    shards: int
    epochs: dict[str, int]
    """Of `step1` and `step2`."""
    patience: dict[str, int] = {}
    """Optimiser steps without a better value after which a trial of `step1` or `step2` stops; absent: never."""
    patience_epochs: dict[str, int] = {}
    """As `patience`, where it is stated in epochs: how many steps they have depends on a trial's batch."""
    rungs: Rungs | None = None
    choice: Choice = Choice()
    trainer: str
    software: dict[str, str]
    """Versions of the packages that trained."""
    training_seed: int = 0
    """Seed of every training, so that trials differ by their hyperparameters alone."""
    command: list[str] | None = None
    """Program of trainer command."""


class StudyPlan(SearchPlan):
    """The frozen study of a dataset with dates: written once by the plan task, read by all others."""

    dataset: DatasetRef
    split: Split
    samples: dict[str, int]
    """Training samples (anchors) of `training`, `subset`, `validation` and `test`."""
    overrides: dict[str, Any] = {}
    """Keys of the training configuration that are the same for all trials, learning rate and batch among them."""
    config: str | None = None
    """SHA-256 of the training configuration file."""
    replicas: dict[str, int] = {"step1": 1, "step2": 1}
    """Data-parallel copies of the model in each step."""


class Specification(Document):
    """What to train, whatever the data are."""

    version: Literal[1] = 1
    study: str
    trial: int
    step: Literal[0, 1, 2]
    """0 is a single training without a study."""
    replicate: int = 0
    """Counts the trainings of the same trial with other seeds."""
    trainer: Literal["anemoi", "command", "mlp"]
    params: dict[str, Any]
    """Hyperparameters by dotted key, as stated for the reference layout."""
    overrides: dict[str, Any] = {}
    """Keys of the training configuration that are the same for all trials."""
    metric: str
    direction: Literal["minimize", "maximize"]
    seed: int
    samples: int
    """Training samples, for the length of the learning-rate schedule."""
    layout: Layout
    budget: Budget
    command: list[str] | None = None
    environment: Path
    """Virtual environment of the trainer."""
    output: Path
    """The trial's folder."""


class TrialSpec(Specification):
    """trial.json of a dataset with dates."""

    dataset: DatasetRef
    training: Span
    """From the first to the last date of the part that is used."""
    blocks: list[Span] = []
    """Parts of the training period that are used, when it is not all between its ends."""
    validation: Span
    test: Span
    config: Path | None = None


class Checkpoint(Document):
    """Weights on disk."""

    path: Path
    sha256: str
    size: int
    """Bytes."""
    uuid: str | None = None
    """Anemoi's identity of the file."""


class HistoryPoint(Document):
    """The metric after one validation."""

    epoch: int
    step: int
    value: float | None
    """None when it was NaN or infinite."""


class TrialResult(Document):
    """result.json: how it went."""

    version: Literal[1] = 1
    study: str
    trial: int
    step: Literal[0, 1, 2]
    replicate: int = 0
    state: TrialState
    reason: str = ""
    """Why it is not complete; what an operator reads."""
    params: dict[str, Any]
    metric: str
    value: float | None = None
    """The metric of the weights that are kept."""
    best: float | None = None
    history: list[HistoryPoint] = []
    metrics: dict[str, float] = {}
    """Everything that the trainer reported: of trainer mlp as measured with the weights of the best epoch, those that
    are kept; of trainer anemoi the last value of each; of trainer command as the program says."""
    seconds: float = 0.0
    """Wall time of the training."""
    cpu_seconds: float | None = None
    parameters: int | None = None
    """Trainable parameters of the model."""
    epochs: int | None = None
    """Epochs that were trained."""
    steps: int | None = None
    """Optimiser steps that were made."""
    stopped_early: bool = False
    """No better value came for as long as its patience lasts; the trial is complete."""
    inference_seconds: float | None = None
    """Time of one forward pass of one sample on one core."""
    effective_lr: float | None = None
    """Learning rate after the trainer's scaling by replicas."""
    global_batch: int | None = None
    """Samples per optimiser step over all replicas."""
    started: datetime
    ended: datetime
    host: str
    run_id: str | None = None
    """The trainer's own run id, which its checkpoints carry."""
    checkpoint: Checkpoint | None = None
    """For inference."""
    resume: Checkpoint | None = None
    """With optimiser state."""


class Candidate(Document):
    """A trial chosen for step 2."""

    rank: int
    """1 is the first to be trained; the best of step 1 unless chosen otherwise."""
    trial: int
    params: dict[str, Any]
    value: float | None
    """In step 1; None for a trial that was drawn for step 2."""
    role: Literal["ranked", "pareto", "control", "narrowed"] = "ranked"
    """Why it was chosen; a control cannot win."""


class Shortlist(Document):
    """shortlist.json: the candidates and the account of all trials."""

    study: str
    candidates: list[Candidate]
    states: dict[TrialState, int]
    """Adds up to the number of trials."""


class Selection(Document):
    """selection.json: the winner of step 2, or the result of a single training."""

    study: str
    trial: int
    step: Literal[0, 2]
    params: dict[str, Any]
    value: float
    step1_value: float | None
    result: TrialResult
    replicates: list[float] = []
    """Values of all its trainings in step 2, where there are several."""
    judged: str = ""
    """How `value` follows from them: a mean of which trainings."""
    reason: str = ""
    """Why it and not the one with the best value, when they differ."""
    warnings: list[str] = []
    """What speaks against it."""
