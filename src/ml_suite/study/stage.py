"""A stage: trainings of one study that belong together, with one record.

Step 1, step 2, its replicates and each part of a pilot are stages; whoever runs trainings needs no more than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml_suite.study.contract import Cuts


@dataclass(frozen=True)
class Stage:
    """How the trainings of a stage are made."""

    name: str
    """Folder of its record below the study's: step1, step2, pilot/5%-0."""
    step: Literal[0, 1, 2]
    members: str
    """Part of the data that is trained on, a key of the plan's `members`."""
    epochs: int
    patience: int | None = None
    """Optimiser steps."""
    patience_epochs: int | None = None
    """As `patience`, where how many steps an epoch has depends on a trial's batch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    normalisation: Path | None = None
    """Of its inputs, relative to the study's folder; None: that of the study."""
    rungs: Cuts | None = None
    """Who competes with whom: `ml_suite.study.halving.cohort`."""
    walltime: float | None = None
    """Seconds, of one trial."""


@dataclass(frozen=True)
class Task:
    """One training of a stage."""

    trial: int
    params: dict[str, Any]
    replicate: int = 0
    alone: bool = False
    """It takes no part in the cuts of its stage: it is trained to its end."""
