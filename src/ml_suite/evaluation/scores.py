"""scores.json: what an evaluation says, and what it was asked."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from ml_suite.study.contract import Document, Span

Table = dict[str, list[float | None]]
"""By variable one number per lead time; None where no valid point was left."""

WEIGHTING = "cos(latitude); squared errors pooled over points and start dates, NaN points left out"
"""How one RMSE is made of many errors."""


class Contestant(Document):
    """Weights to judge."""

    role: Literal["winner", "incumbent"]
    uuid: str | None
    sha256: str | None
    """Of the checkpoint file; None for a trainer without checkpoints."""


class Request(Document):
    """What was asked; a second evaluation of the same request is not computed again."""

    trainer: str
    metric: str
    direction: Literal["minimize", "maximize"]
    contestants: list[Contestant]
    """The winner first."""
    dataset: str
    """Name in the catalogue."""
    dataset_uuid: str
    manifest: str
    """SHA-256 of the dataset's content manifest."""
    test: Span
    lead_hours: int
    forecasts: int


class ModelScores(Document):
    """How one set of weights did."""

    role: Literal["winner", "incumbent"]
    uuid: str | None
    sha256: str | None
    loss: float | None
    """The trainer's own metric on the test period; None when it was not computed."""
    validation: float | None = None
    """The metric on the validation period, as the training recorded it."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Everything else that the trainer reports on the test period."""
    rmse: Table = Field(default_factory=dict)
    """In the variable's units."""
    skill: Table = Field(default_factory=dict)
    """1 - rmse / rmse of persistence: 1 is perfect, 0 is persistence."""


class Evaluation(Document):
    """Result of the evaluation task."""

    version: Literal[1] = 1
    request: Request
    starts: list[datetime] = Field(default_factory=list)
    """Start dates of the forecasts."""
    lead_hours: list[float] = Field(default_factory=list)
    units: dict[str, str | None] = Field(default_factory=dict)
    persistence: Table = Field(default_factory=dict)
    models: list[ModelScores]
    """The winner first."""
    weighting: str = WEIGHTING
    software: dict[str, str] = Field(default_factory=dict)
    note: str = ""
    """What was left out, and why."""

    @property
    def winner(self) -> ModelScores:
        """Scores of the winner."""
        return self.models[0]

    @property
    def incumbent(self) -> ModelScores | None:
        """Scores of the weights in use, if they were judged too."""
        return next((m for m in self.models if m.role == "incumbent"), None)


def mean_skill(scores: ModelScores) -> float | None:
    """Mean over variables and lead times of the skill against persistence; None without forecasts."""
    values = [v for row in scores.skill.values() for v in row if v is not None]
    return sum(values) / len(values) if values else None


def summary(evaluation: Evaluation) -> str:
    """One line for an operator."""
    winner, incumbent = evaluation.winner, evaluation.incumbent
    words = ["not scored on the test period" if winner.loss is None else f"test loss {winner.loss:.5g}"]
    if incumbent is not None and incumbent.loss is not None:
        words.append(f"incumbent {incumbent.loss:.5g}")
    if (skill := mean_skill(winner)) is not None:
        words.append(f"skill against persistence {skill:+.0%}")
    return ", ".join(words)
