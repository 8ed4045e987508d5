"""Dates of a dataset, and how many training samples a period gives."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ml_suite.errors import StudyError
from ml_suite.quantities import format_duration, format_fraction
from ml_suite.study.contract import Span, Split

MOST = 600
"""Blocks of a subset: a training opens its dataset once for each."""


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

    @property
    def length(self) -> timedelta:
        """From its first to its last date."""
        return max(self.offsets) - min(self.offsets)


def anchors(calendar: Calendar, span: Span, window: Window) -> int:
    """Count the training samples of a period: reference dates whose whole window lies inside it, without a gap."""
    return len(_firsts(calendar, span, window))


def _firsts(calendar: Calendar, span: Span, window: Window) -> list[datetime]:
    """First dates of the windows of all samples of a period, ascending."""
    there = set(calendar.dates(span)) - calendar.missing
    # the reference date itself need not be in the window, so candidates start from the first offset
    first = min(window.offsets)
    return sorted(d for d in there if all(d - first + offset in there for offset in window.offsets))


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
        raise StudyError(
            f"a subset of {format_fraction(share)} of the training period ({len(dates)} dates) has {count} dates and "
            f"no training sample, which spans {format_duration(window.length)}",
            "Raise hpo.step1.subset or lengthen the training period.",
        )
    return span


def blocks(
    calendar: Calendar,
    training: Span,
    share: float,
    window: Window,
    seed: int,
    length: timedelta | None = None,
) -> list[Span]:
    """Blocks of dates, spread over the training period, that have SHARE of its samples; to one sample.

    The samples of the period are parted into strata, as many as there are blocks, and each stratum has one block, at a
    place that the seed decides: so all seasons and years are seen. A date at least lies between two blocks, so that no
    sample goes across. There is a block for each month and ten at least, or as many as fit.

    Parameters
    ----------
    length
        Of a block; then their number follows from it.

    Returns
    -------
    list of Span
        Ascending; one block where the share is all of the period.

    Raises
    ------
    StudyError
        If not even one training sample fits, a block is shorter than a sample, or the blocks do not fit.
    """
    firsts = _firsts(calendar, training, window)
    wanted = round(share * len(firsts))
    if not wanted:
        raise StudyError(
            f"a subset of {format_fraction(share)} of the training period ({len(firsts)} samples) has no sample",
            "Raise hpo.step1.subset or lengthen the training period.",
        )
    step = calendar.frequency * calendar.every
    samples = None if length is None else length // step - window.length // step
    if samples is not None and samples < 1:
        raise StudyError(
            f"a block of {format_duration(length or step)} is shorter than a training sample, which needs "
            f"{format_duration(window.length + step)} of dates",
            "Raise hpo.step1.block, or leave it out.",
        )
    months = round((training.end - training.start) / timedelta(days=30.4))
    number = min(max(10, months), MOST) if samples is None else max(1, round(wanted / samples))
    if number > MOST:
        raise StudyError(
            f"a subset of {format_fraction(share)} has {number:,} blocks of {format_duration(length or step)}, "
            f"and there are at most {MOST}",
            f"Raise hpo.step1.block to {format_duration(_rounded(step * -(-wanted // MOST) + window.length))}.",
        )
    for count in range(min(number, wanted), 0, -1):
        found = _strata(firsts, wanted, count, window.length + 2 * step, seed)
        if found:
            break
        if samples is not None:
            raise StudyError(
                f"{number} blocks of {format_duration(length or step)} do not fit into the training period with a date "
                f"between each two, for a subset of {format_fraction(share)}",
                "Raise hpo.step1.block or leave it out, or lower hpo.step1.subset.",
            )
    return [Span(start=first, end=last + window.length) for first, last in found]


def _rounded(length: timedelta) -> timedelta:
    """Whole days, unless it is shorter."""
    day = timedelta(days=1)
    return length if length < day else -(-length // day) * day


def _strata(
    firsts: list[datetime], wanted: int, count: int, apart: timedelta, seed: int
) -> list[tuple[datetime, datetime]]:
    """First and last sample of one block in each of COUNT strata; none where they would come too close."""
    found = []
    ends = [len(firsts) * (i + 1) // count for i in range(count)]
    for i, end in enumerate(ends):
        begin = ends[i - 1] if i else 0
        samples = wanted * (i + 1) // count - wanted * i // count
        # the last sample of a block stays clear of the stratum that follows
        usable = end if end == len(firsts) else bisect_right(firsts, firsts[end] - apart, begin, end)
        places = usable - begin - samples + 1
        if places < 1:
            return []
        digest = hashlib.sha256(f"{seed}/block/{i}".encode()).digest()
        at = begin + int.from_bytes(digest[:8], "big") * places // (1 << 64)
        found.append((firsts[at], firsts[at + samples - 1]))
    return found


def gaps(calendar: Calendar, parts: Sequence[Span]) -> list[datetime]:
    """Dates between the blocks, which a training must take for missing; on the dataset's own frequency.

    anemoi-training uses exactly the samples of the blocks when its training dataset is the concatenation of them. All
    other keys of ``dataset_config`` (frequency, drop ...) stay as they are; ``start`` and ``end`` must be given, and
    are the first and the last date of all blocks, `Split.subset`::

        dataloader.training.datasets.data.dataset_config.dataset:
          concat: [{dataset: PATH, start: FIRST, end: LAST}, ...]
          fill_missing_gaps: true

    What lies between the blocks counts as missing then, and samples that touch it are left out. The same comes of
    ``dataset_config.set_missing_dates: [these dates]``, which opens the dataset once instead of once a block, but is as
    long as the gaps: a word of a command line ends at 128 KiB. A single block needs ``start`` and ``end`` alone. The
    statistics stay those of the whole dataset in all cases.
    """
    found = []
    for before, after in pairwise(parts):
        number = (after.start - before.end) // calendar.frequency
        found += [before.end + i * calendar.frequency for i in range(1, number)]
    return found


def split(
    calendar: Calendar,
    window: Window,
    spans: dict[str, Span],
    share: float,
    *,
    contiguous: bool = True,
    block: timedelta | None = None,
    seed: int = 0,
) -> tuple[Split, dict[str, int]]:
    """Periods of a study and the training samples in each.

    Parameters
    ----------
    spans
        Of `training`, `validation` and `test`.
    contiguous
        Take the first part of the training period as the subset, rather than blocks spread over it.
    block
        Length of a block; see `blocks`.
    seed
        Of the places of the blocks.

    Raises
    ------
    StudyError
        If a period lies outside the dataset, has no sample, or overlaps another one; or the subset has none.
    """
    for name, span in spans.items():
        if not anchors(calendar, span, window):
            raise StudyError(
                f"the {name} period {_show(span)} has no sample in the dataset, "
                f"which has {_show(Span(start=calendar.start, end=calendar.end))}",
                "Change the period in training.periods or in the training configuration.",
            )
    _refuse_overlap(spans)
    samples = {name: anchors(calendar, span, window) for name, span in spans.items()}
    training = spans["training"]
    if contiguous or share == 1:
        parts = [subset(calendar, training, share, window)]
    else:
        parts = blocks(calendar, training, share, window, seed, block)
    firsts = [first for part in parts for first in _firsts(calendar, part, window)]
    hull = Span(start=parts[0].start, end=parts[-1].end)
    divided = Split(
        subset=hull, blocks=[] if len(parts) == 1 else parts, members=_members(firsts, window), **spans
    )
    return divided, {**samples, "subset": len(firsts)}


def _members(firsts: Sequence[datetime], window: Window) -> str:
    """SHA-256 of the reference dates of samples, one a line."""
    dates = (first - min(window.offsets) for first in firsts)
    return hashlib.sha256("".join(f"{date.isoformat()}\n" for date in dates).encode()).hexdigest()


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
