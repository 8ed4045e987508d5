"""How long trainings of a study take: a part that every trial has, and one that grows with the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ml_suite.study.contract import TrialResult, TrialState

Parts = Mapping[tuple[float, int], Sequence[TrialResult]]
"""Results of a pilot by share of the data and replicate."""

Work = Callable[[float, TrialResult], float]
"""What a training on a share of the data has cost, in seconds of any clock that is the same for all of a study."""

OVERHEAD = {"mlp": 0.005, "command": 3.0, "anemoi": 4.0}
"""Seconds of a trial that do not depend on its data, by trainer; until a pilot or finished trials say it better."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a training: `overhead + share * full`."""

    overhead: float
    full: float
    measured: bool = True
    dear: float = 1.0
    """Length of a candidate's training as a part of the average trial's: the best networks are seldom the smallest."""


def rate(shares: Sequence[float], seconds: Sequence[float]) -> Rate | None:
    """Fit the mean seconds of trainings at several sizes; None with fewer than two sizes.

    Parameters
    ----------
    shares
        Part of the data of each training.
    seconds
        Of each training, reduced to one number of epochs.
    """
    count = len(shares)
    if len(set(shares)) < 2 or count != len(seconds):
        return None
    # relative weights: the long trainings must not hide the overhead of the short ones
    weights = [1 / share**2 for share in shares]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, shares, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, seconds, strict=True)) / total
    across = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, shares, strict=True))
    slope = (
        sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, shares, seconds, strict=True))
        / across
    )
    overhead = max(0.0, mean_y - slope * mean_x)
    full = (mean_y - overhead) / mean_x if overhead == 0 else max(slope, 0.0)
    return Rate(overhead=overhead, full=full)


def wall(share: float, result: TrialResult) -> float:
    """Seconds by the clock on the wall: what people wait for, and what another program beside it makes longer."""
    return result.seconds


def processor(share: float, result: TrialResult) -> float:
    """Seconds of processor time, or by the clock where the training did not tell."""
    return result.seconds if result.cpu_seconds is None else result.cpu_seconds


def fitted(parts: Parts, direction: str, shorten: float = 1.0, work: Work = wall) -> Rate | None:
    """Speed as a pilot measured it; None before it has two sizes.

    Parameters
    ----------
    parts
        Its results by share of the data and replicate.
    shorten
        Epochs of step 1 as a part of those of the trainings on everything.
    work
        What a training has cost.

    Notes
    -----
    Two small sizes say little about everything: the overhead is taken as three quarters of the smallest at most. As
    soon as some trials were trained on everything, the ratio to their own small trainings counts.
    """
    small: dict[float, list[_Timed]] = {}
    full: list[_Timed] = []
    for (share, _), results in parts.items():
        (full if share == 1.0 else small.setdefault(share, [])).extend(
            _Timed(r, seconds)
            for r in results
            if r.state is TrialState.COMPLETE and (seconds := work(share, r)) > 0
        )
    if len(small) < 2 or not all(small.values()):
        return None
    means = {share: _mean(t.seconds for t in timed) for share, timed in small.items()}
    largest, least = max(small), min(small)
    found = rate(
        [s for s, timed in small.items() for _ in timed], [t.seconds for v in small.values() for t in v]
    )
    assert found is not None
    overhead = min(found.overhead, 0.75 * means[least])
    whole = (means[largest] - overhead) / largest
    own = {t.result.trial: t.seconds for t in small[largest]}
    both = [(own[t.result.trial], t.seconds * shorten) for t in full if t.result.trial in own]
    for _ in range(20 if both else 0):
        # of the trials in both, everything beyond the overhead grows as that of all
        ratio = max(_mean(f for _, f in both) - overhead, 0.0) / max(
            _mean(s for s, _ in both) - overhead, 1e-9
        )
        whole = (means[largest] - overhead) * ratio
        overhead = min(max(means[least] - least * whole, 0.0), 0.95 * means[least])
    return Rate(overhead, whole, dear=_dear(small[largest], overhead, direction))


@dataclass(frozen=True)
class _Timed:
    result: TrialResult
    seconds: float


def _dear(timed: Sequence[_Timed], overhead: float, direction: str) -> float:
    """How much longer the best quarter of trainings of one size takes than the average one."""
    sign = 1 if direction == "minimize" else -1
    ranked = sorted(
        (t for t in timed if t.result.value is not None),
        key=lambda t: (sign * (t.result.value or 0.0), t.result.trial),
    )
    if len(ranked) < 8:
        return 1.0
    seconds = [max(t.seconds - overhead, 0.0) for t in ranked]
    mean = _mean(seconds)
    return min(4.0, max(0.5, _mean(seconds[: len(seconds) // 4]) / mean)) if mean > 0 else 1.0


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
