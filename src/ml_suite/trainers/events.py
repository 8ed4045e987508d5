"""metrics.jsonl: what a training says of itself while it runs, one JSON line an event."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ml_suite.study.contract import HistoryPoint

FITTED = "fitted"
"""Status of an `end` event when the training used up its budget."""

STOPPED = "stopped early"
"""Status of an `end` event when the training did not become better for as long as its patience lasts."""

PAUSED = "paused"
"""Status of an `end` event when the training reached the epoch after which it has to wait."""


class Event(BaseModel):
    """One line of metrics.jsonl."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: Literal["start", "validation", "epoch", "end"]
    time: float
    """Seconds since 1970."""
    epoch: int = 0
    step: int = 0
    """Optimiser steps done."""
    values: dict[str, float | None] = {}
    """Everything that the trainer has logged; None was NaN or infinite."""
    run_id: str | None = None
    checkpoints: Path | None = None
    """Folder of the run's checkpoints."""
    parameters: int | None = None
    effective_lr: float | None = None
    global_batch: int | None = None
    status: str = ""
    """Of `end`: `FITTED`, `STOPPED`, `PAUSED`, or the exception's type and message."""
    uuid: str | None = None
    """Of `end`: Anemoi's identity of the inference checkpoint."""


def read(path: Path) -> list[Event]:
    """Events in the order written; a torn last line is left out, and no file is no event."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    return [Event.model_validate_json(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def history(told: list[Event], metric: str) -> list[HistoryPoint]:
    """Return the metric after each epoch's validation; an epoch that ran again after a stop counts once."""
    points = {
        e.epoch: HistoryPoint(epoch=e.epoch, step=e.step, value=e.values[metric])
        for e in told
        if e.event == "validation" and metric in e.values
    }
    return [points[epoch] for epoch in sorted(points)]
