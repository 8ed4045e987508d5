"""When a training has not become better for too long, counted in optimiser steps: pure functions of its history.

Epochs are no measure of patience on small subsets: where an epoch has three steps, five epochs are over before anything
was learned.
"""

from __future__ import annotations

from collections.abc import Sequence

from ml_suite.study.contract import HistoryPoint


def best(history: Sequence[HistoryPoint], direction: str) -> HistoryPoint | None:
    """Point with the best value, of equal ones the first; None if no value is finite."""
    sign = 1 if direction == "minimize" else -1
    points = [(sign * p.value, i) for i, p in enumerate(history) if p.value is not None]
    return history[min(points)[1]] if points else None


def exhausted(history: Sequence[HistoryPoint], patience: int, direction: str) -> bool:
    """Tell whether the last PATIENCE optimiser steps brought no better value; NaN is never better.

    >>> points = [HistoryPoint(epoch=i, step=3 * i + 3, value=v) for i, v in enumerate((0.5, 0.4, 0.4, 0.6))]
    >>> exhausted(points, 6, "minimize"), exhausted(points, 7, "minimize")
    (True, False)
    """
    if not history:
        return False
    known = best(history, direction)
    return history[-1].step - (known.step if known else 0) >= patience
