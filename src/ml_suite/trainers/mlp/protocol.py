"""What is said to a worker of trainer ``mlp`` and what it answers: one JSON document a line.

A worker is started once (``python -m ml_suite.trainers.mlp.worker``), gets a `Setup` on its standard input, and then
answers each `Order` with one `Answer` on its standard output, so that a trial costs no start of a process. Another
`Setup` may follow, for the orders after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ml_suite.study.arrays import Arrays
from ml_suite.study.contract import Checkpoint, Document, HistoryPoint, TrialState


class Setup(Document):
    """Data of all trainings of a worker, and the device."""

    arrays: Arrays
    members: dict[str, Path]
    """Sample numbers (.npy) of `training` and `validation`, and of `test` where it is wanted."""
    normalisation: Path | None = None
    """NumPy file (.npz) with `mean` and `std` of the inputs; None: they are given as they are."""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that hold for all trials; a hyperparameter of the same name goes before."""


class Order(Document):
    """One training, or a part of one."""

    trial: int
    replicate: int = 0
    params: dict[str, Any]
    seed: int
    metric: str = "val_loss"
    direction: Literal["minimize", "maximize"] = "minimize"
    epochs: int
    until: int | None = None
    """Epoch after which the training pauses; None: it runs to its end."""
    patience: int | None = None
    """Optimiser steps without a better value after which it ends."""
    walltime: float | None = None
    """Seconds of this part."""
    state: Path | None = None
    """File of a paused training: weights, optimiser, random numbers. Read when it is there, written at a pause."""
    weights: Path | None = None
    """Where the best weights are left; None: they are not kept."""
    test: bool = False
    """Also judge the best weights on the test samples."""


class Answer(Document):
    """How an order went; the names are those of `ml_suite.study.contract.TrialResult`."""

    trial: int
    replicate: int = 0
    state: TrialState
    paused: bool = False
    """It reached `until`, and could go on."""
    reason: str = ""
    value: float | None = None
    """The metric of the best weights."""
    best: float | None = None
    history: list[HistoryPoint] = Field(default_factory=list)
    """Of all its parts."""
    metrics: dict[str, float] = Field(default_factory=dict)
    parameters: int | None = None
    epochs: int | None = None
    steps: int | None = None
    stopped_early: bool = False
    seconds: float
    """Of all its parts."""
    cpu_seconds: float
    inference_seconds: float | None = None
    checkpoint: Checkpoint | None = None
