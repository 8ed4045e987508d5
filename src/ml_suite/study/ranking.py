"""Order trainings by their value, and say how they ended; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialResult, TrialState


def account(results: Iterable[TrialResult]) -> dict[TrialState, int]:
    """Trials per state, in the order of `TrialState`."""
    counted = Counter(result.state for result in results)
    return {state: counted[state] for state in TrialState if counted[state]}


def rank(
    results: Iterable[TrialResult], direction: str, state: TrialState = TrialState.COMPLETE
) -> list[TrialResult]:
    """Complete trials (or those of another state), best first; equal values by number."""
    usable = [r for r in results if r.state is state and r.value is not None and math.isfinite(r.value)]
    return sorted(usable, key=lambda r: (signed(r.value or 0.0, direction), r.trial, r.replicate))


def signed(value: float, direction: str) -> float:
    """Return a number that is smaller for a better value."""
    return value if direction == "minimize" else -value


FURTHER = 2
"""Further trainings that judge a trial without the one by which it was chosen."""


def judged(values: Mapping[int, float]) -> float:
    """Value of a trial that was trained several times, from its values by replicate.

    The training by which it was chosen is a lucky one more often than not, so it does not count where there are others
    enough.

    >>> judged({0: 0.1, 1: 0.2}), judged({0: 0.1, 1: 0.2, 2: 0.25})
    (0.15000000000000002, 0.225)
    """
    further = [value for replicate, value in values.items() if replicate]
    chosen = further if len(further) >= FURTHER else list(values.values())
    return sum(chosen) / len(chosen)


def counted(values: Mapping[int, float]) -> int:
    """Over how many trainings `judged` takes the mean."""
    further = sum(replicate > 0 for replicate in values)
    return further if further >= FURTHER else len(values)


def judged_by(trainings: int) -> str:
    """Write what the value of a trial with so many trainings is; empty for one."""
    if trainings > FURTHER:
        return f"the mean of {trainings - 1} further seeds"
    return f"the mean of {trainings} seeds, with the one by which it was chosen" if trainings > 1 else ""


def weight(result: TrialResult, against: str) -> float:
    """How heavy a model is: trainable parameters, or seconds of one forward pass.

    Raises
    ------
    StudyError
        If its trainer did not report it.
    """
    found = result.parameters if against == "parameters" else result.inference_seconds
    if found is None:
        key = "parameters" if against == "parameters" else "inference_seconds"
        raise StudyError(
            f"trial {result.trial} of step {result.step} has no {key}, by which models are compared",
            f"Let the program report {key}, or choose `by: rank` and `select: best`.",
        )
    return float(found)


def told(results: Iterable[TrialResult]) -> str:
    """How trainings ended, in words."""
    rows = list(results)
    states = ", ".join(f"{count} {state}" for state, count in account(rows).items())
    reason = next((r.reason for r in rows if r.reason), "")
    return f"{states}; the first says: {reason}" if reason else states


def few(numbers: Sequence[int]) -> str:
    """Numbers as a list that is not too long."""
    shown = ", ".join(str(n) for n in numbers[:8])
    return f"{shown} and {len(numbers) - 8} more" if len(numbers) > 8 else shown
