"""All trainings as one table for the page: what its table shows and what is told about a point under the pointer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ml_suite.report.model import Report, Row
from ml_suite.report.summary import value
from ml_suite.study.contract import TrialState
from ml_suite.study.ranking import judged

SHOWN = 200
"""Rows that the page has in its text; of more the browser shows others on demand."""


def columns(report: Report) -> dict[str, Any]:
    """By columns, because 10,000 trials with repeated keys would be a large file; repeated words are stored once."""
    rows = report.rows
    words: dict[str, int] = {}

    def word(text: str) -> int:
        return words.setdefault(text, len(words))

    made = {
        "metric": report.metric or "value",
        "step": [row.step for row in rows],
        "trial": [row.trial for row in rows],
        "seed": [row.replicate for row in rows],
        "rank": [row.rank for row in rows],
        "state": [word(row.state.value) for row in rows],
        "reason": [word(row.reason) for row in rows],
        "host": [word(row.host) for row in rows],
        "value": [_short(value(row)) for row in rows],
        "seconds": [_short(row.seconds, 4) for row in rows],
        "weights": [row.parameters for row in rows],
        "params": {name: [_param(row.params.get(name)) for row in rows] for name in names(report)},
        "winner": next((i for i, row in enumerate(rows) if row.winner), None),
        "order": order(report),
    }
    return made | {"words": list(words)}


def names(report: Report) -> list[str]:
    """Hyperparameters, in the order of the space, then others."""
    used = {name for row in report.rows for name in row.params}
    known = [name for name in report.space if name in used]
    return known + sorted(used - set(known))


def order(report: Report) -> list[int]:
    """Positions of the rows, the winner first, then step 2 before step 1, each best first."""

    def place(i: int) -> tuple[bool, int, int, int, int]:
        row = report.rows[i]
        return not row.winner, -row.step, row.rank or 10**9, row.trial, row.replicate

    return sorted(range(len(report.rows)), key=place)


@dataclass(frozen=True)
class Best:
    """A line of the table of the best models."""

    row: Row
    value: float
    """What its seeds say."""
    seeds: int
    first: Row | None
    """In step 1, when the row is of step 2."""


def top(report: Report, count: int = 10) -> list[Best]:
    """Best models: of step 2 where there is one, otherwise of the only step; controls are left out.

    Those trained with several seeds go first, the winner before all others.
    """
    sign = 1 if report.direction == "minimize" else -1
    first = {row.trial: row for row in report.rows if row.step == 1}
    for step in (2, 0, 1):
        values: dict[int, dict[int, float]] = {}
        for r in report.rows:
            if r.step == step and r.value is not None and r.state is TrialState.COMPLETE:
                values.setdefault(r.trial, {})[r.replicate] = r.value
        found = [
            Best(r, judged(v), len(v), first.get(r.trial) if step == 2 else None)
            for r in report.rows
            if r.step == step and r.rank and r.role != "control" and (v := values.get(r.trial))
        ]
        if found:
            found.sort(key=lambda b: (not b.row.winner, -b.seeds, sign * b.value, b.row.trial))
            return found[:count]
    return []


def tells_depth(report: Report) -> bool:
    """Whether the depth is known, and not a column of its own already."""
    named = any(name.rsplit(".", 1)[-1].endswith("layers") for name in names(report))
    return not named and any(row.depth is not None for row in report.rows)


def text(given: Any) -> str:
    """Hyperparameter for a table.

    >>> text([64, 32]), text(0.00123456)
    ('64, 32', '0.001235')
    """
    if isinstance(given, list):
        return ", ".join(text(v) for v in given)
    return f"{given:.4g}" if isinstance(given, float) else "" if given is None else str(given)


def _short(given: float | None, digits: int = 6) -> float | None:
    """Fewer digits; what is not finite, or is not after rounding, cannot be told in JSON."""
    rounded = None if given is None else float(f"{given:.{digits}g}")
    return rounded if rounded is not None and math.isfinite(rounded) else None


def _param(given: Any) -> Any:
    if isinstance(given, float):
        return _short(given, 5)
    return given if type(given) is int or given is None else text(given)
