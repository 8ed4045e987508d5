"""Make plans and results."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_suite.study import planning
from ml_suite.study.contract import DatasetRef, Span, Split, StudyPlan, TrialResult, TrialState

DAY = Span(start=datetime(2000, 1, 1), end=datetime(2000, 1, 2))
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def plan(**changes: Any) -> StudyPlan:
    fields: dict[str, Any] = {
        "suite": "s",
        "metric": "m",
        "direction": "minimize",
        "seed": 0,
        "space": {"x": {"float": [0.0, 1.0]}},
        "trials": 4,
        "keep": 2,
        "subset": 0.1,
        "dataset": DatasetRef(name="d", path=Path("/d"), uuid="u", manifest="m"),
        "split": Split(training=DAY, subset=DAY, validation=DAY, test=DAY),
        "samples": {"training": 10, "subset": 1, "validation": 1, "test": 1},
        "shards": 2,
        "epochs": {"step1": 1, "step2": 2},
        "trainer": "command",
        "software": {},
    }
    return planning.freeze(**{**fields, **changes})


def result(trial: int, value: float | None = None, step: int = 1, **changes: Any) -> TrialResult:
    fields: dict[str, Any] = {
        "study": "s",
        "trial": trial,
        "step": step,
        "state": TrialState.COMPLETE if value is not None else TrialState.FAILED,
        "params": {"x": trial / 10},
        "metric": "m",
        "value": value,
        "started": WHEN,
        "ended": WHEN,
        "host": "h",
    }
    return TrialResult(**{**fields, **changes})
