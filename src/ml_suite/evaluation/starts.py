"""Choose the start dates of the forecasts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from ml_suite.errors import StudyError
from ml_suite.study.contract import Span


def choose_starts(
    dates: Collection[datetime],
    period: Span,
    lags: Sequence[timedelta],
    leads: Sequence[timedelta],
    wanted: int,
) -> list[datetime]:
    """Dates from which a forecast can be made and verified, spread evenly over the period.

    Parameters
    ----------
    dates
        Dates with data; missing dates are not among them.
    period
        Inputs and verification both lie inside it, so nothing that was used in training is looked at.
    lags
        Input times relative to the start, zero or negative.
    leads
        Output times relative to the start, positive.
    wanted
        At most so many are returned.

    Raises
    ------
    StudyError
        If there is none.
    """
    inside = {d for d in dates if period.start <= d <= period.end}
    usable = [d for d in sorted(inside) if all(d + step in inside for step in (*lags, *leads))]
    if not usable:
        raise StudyError(
            f"no forecast of {max(leads)} can be verified between {period.start} and {period.end}",
            "Shorten evaluation.lead_time or widen the test period.",
        )
    return spread(usable, wanted)


def spread(items: Sequence[datetime], wanted: int) -> list[datetime]:
    """Pick WANTED of the items evenly, the first and the last among them.

    >>> spread([datetime(2000, 1, day) for day in range(1, 6)], 2)
    [datetime.datetime(2000, 1, 1, 0, 0), datetime.datetime(2000, 1, 5, 0, 0)]
    """
    if wanted >= len(items):
        return list(items)
    if wanted == 1:
        return [items[len(items) // 2]]
    return [items[round(i * (len(items) - 1) / (wanted - 1))] for i in range(wanted)]
