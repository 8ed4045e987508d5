"""metrics.jsonl: what a training says of itself while it runs, one JSON line an event."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

FITTED = "fitted"
"""Status of an `end` event when the training used up its budget."""


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
    """Of `end`: `FITTED`, or the exception's type and message."""
    uuid: str | None = None
    """Of `end`: Anemoi's identity of the inference checkpoint."""


def read(path: Path) -> list[Event]:
    """Events in the order written; a torn last line is left out, and no file is no event."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    return [Event.model_validate_json(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
