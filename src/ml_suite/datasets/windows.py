"""Windows of consecutive dates against gaps and chunks: pure arithmetic."""

from __future__ import annotations

from collections.abc import Collection


def usable_starts(dates: int, window: int, missing: Collection[int]) -> list[int]:
    """First dates of all windows without a missing date.

    >>> usable_starts(6, 3, {4})
    [0, 1]
    >>> usable_starts(2, 3, set())
    []
    """
    gone = set(missing)
    starts = []
    run = 0
    for date in range(dates):
        run = 0 if date in gone else run + 1
        if run >= window:
            starts.append(date - window + 1)
    return starts


def chunks_touched(start: int, window: int, length: int) -> int:
    """Chunks of LENGTH dates that a window touches.

    >>> chunks_touched(0, 3, 1), chunks_touched(3, 3, 4), chunks_touched(4, 3, 4)
    (3, 2, 1)
    """
    return (start + window - 1) // length - start // length + 1


def mean_chunks_touched(dates: int, window: int, length: int) -> float:
    """Mean of `chunks_touched` over all windows of a dataset of DATES dates; 0 when there is none.

    >>> mean_chunks_touched(8, 2, 4)
    1.1428571428571428
    """
    starts = range(dates - window + 1)
    if not starts:
        return 0.0
    # the number repeats every LENGTH starts, so a long dataset costs no more than one period
    period = [chunks_touched(start, window, length) for start in range(length)]
    whole, rest = divmod(len(starts), length)
    return (whole * sum(period) + sum(period[:rest])) / len(starts)
