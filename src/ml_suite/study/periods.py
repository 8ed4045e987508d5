"""Dates of a dataset, and how many training samples a period gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ml_suite.errors import StudyError
from ml_suite.quantities import format_duration, format_fraction
from ml_suite.study.contract import Span, Split


@dataclass(frozen=True)
class Calendar:
    """Dates of a dataset, both ends included."""

    start: datetime
    end: datetime
    frequency: timedelta
    missing: frozenset[datetime] = frozenset()
    every: int = 1
    """A training reads each n-th date of a period."""

    def dates(self, span: Span) -> list[datetime]:
        """Dates that a training reads of a period, missing ones too."""
        first = max(0, -((self.start - span.start) // self.frequency))
        last = (min(span.end, self.end) - self.start) // self.frequency
        return [self.start + i * self.frequency for i in range(first, last + 1, self.every)]


@dataclass(frozen=True)
class Window:
    """Dates that one training sample needs, relative to its reference date."""

    offsets: tuple[timedelta, ...]


def anchors(calendar: Calendar, span: Span, window: Window) -> int:
    """Count the training samples of a period: reference dates whose whole window lies inside it, without a gap."""
    there = set(calendar.dates(span)) - calendar.missing
    # the reference date itself need not be in the window, so candidates start from the first offset
    first = min(window.offsets)
    return sum(all(date - first + offset in there for offset in window.offsets) for date in there)


def subset(calendar: Calendar, training: Span, share: float, window: Window) -> Span:
    """First SHARE of the training period's dates, contiguous, rounded to the dataset's frequency.

    Raises
    ------
    StudyError
        If not even one training sample fits.
    """
    dates = calendar.dates(training)
    count = round(share * len(dates))
    span = Span(start=dates[0], end=dates[count - 1]) if count else None
    if span is None or not anchors(calendar, span, window):
        length = max(window.offsets) - min(window.offsets)
        raise StudyError(
            f"a subset of {format_fraction(share)} of the training period ({len(dates)} dates) has {count} dates and "
            f"no training sample, which spans {format_duration(length)}",
            "Raise hpo.step1.subset or lengthen the training period.",
        )
    return span


def split(
    calendar: Calendar, window: Window, spans: dict[str, Span], share: float
) -> tuple[Split, dict[str, int]]:
    """Periods of a study and the training samples in each.

    Parameters
    ----------
    spans
        Of `training`, `validation` and `test`.

    Raises
    ------
    StudyError
        If a period lies outside the dataset, has no sample, or overlaps another one.
    """
    for name, span in spans.items():
        if not anchors(calendar, span, window):
            raise StudyError(
                f"the {name} period {_show(span)} has no sample in the dataset, "
                f"which has {_show(Span(start=calendar.start, end=calendar.end))}",
                "Change the period in training.periods or in the training configuration.",
            )
    _refuse_overlap(spans)
    part = subset(calendar, spans["training"], share, window)
    samples = {name: anchors(calendar, span, window) for name, span in {**spans, "subset": part}.items()}
    return Split(subset=part, **spans), samples


def _refuse_overlap(spans: dict[str, Span]) -> None:
    ordered = sorted(spans.items(), key=lambda item: item[1].start)
    for (name, span), (other, later) in pairwise(ordered):
        if later.start <= span.end:
            raise StudyError(
                f"the {name} period {_show(span)} overlaps the {other} period {_show(later)}",
                "Weights must be judged on dates that they were not trained or chosen on; change one of them.",
            )


def _show(span: Span) -> str:
    return f"{span.start:%Y-%m-%dT%H} to {span.end:%Y-%m-%dT%H}"
