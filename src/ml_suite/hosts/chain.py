"""A walltime that is longer than the queue's becomes a chain of jobs.

Standard library only: it is done again at submission, because an operator may have changed the walltime.
"""

from __future__ import annotations

import math
from datetime import timedelta

from ml_suite.quantities import format_duration

OVERLAP = timedelta(minutes=15)
"""What a job of a chain takes to start, load the checkpoint and repeat the steps after it."""

MINUTE = timedelta(minutes=1)


def chain(walltime: timedelta, longest: timedelta, overlap: timedelta = OVERLAP) -> list[timedelta]:
    """Divide a walltime into jobs, each of which goes on from the checkpoint of the one before.

    Parameters
    ----------
    longest
        Walltime that the queue gives.
    overlap
        Added to every job but the first.

    Raises
    ------
    ValueError
        If a job would do nothing but repeat the one before.

    >>> [format_duration(t) for t in chain(timedelta(hours=30), timedelta(hours=24))]
    ['1d', '6h15m']
    >>> [format_duration(t) for t in chain(timedelta(hours=3), timedelta(hours=24))]
    ['3h']
    """
    if overlap >= longest:
        raise ValueError(
            f"jobs of {format_duration(longest)} that repeat {format_duration(overlap)} make no progress"
        )
    jobs, left = [], walltime
    while left > longest:
        jobs.append(longest)
        left -= longest - overlap
    # the scheduler counts in minutes
    return [*jobs, math.ceil(left / MINUTE) * MINUTE]


def overlap_of(longest: timedelta) -> timedelta:
    """What jobs of a chain repeat in a queue: less where the queue is short."""
    return min(OVERLAP, longest / 4)
