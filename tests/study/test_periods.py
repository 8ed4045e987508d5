"""Training samples from dates, gaps and windows."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.quantities import duration
from ml_suite.study import periods
from ml_suite.study.contract import Span
from ml_suite.study.periods import Calendar, Window

H6 = timedelta(hours=6)
START, END = datetime(1996, 1, 5), datetime(1996, 1, 20, 18)
GAPS = frozenset({datetime(1996, 1, 9, 6), datetime(1996, 1, 14), datetime(1996, 1, 14, 6)})
STORM = Calendar(START, END, H6, GAPS)
WINDOW = Window((-H6, timedelta(0), H6))
TRAINING = Span(start=START, end=datetime(1996, 1, 16, 18))
VALIDATION = Span(start=datetime(1996, 1, 17), end=datetime(1996, 1, 18, 18))
TEST = Span(start=datetime(1996, 1, 19), end=END)


def test_samples_of_the_storm_are_those_that_anemoi_counts() -> None:
    assert len(STORM.dates(TRAINING)) == 48
    assert periods.anchors(STORM, TRAINING, WINDOW) == 39
    assert periods.anchors(STORM, VALIDATION, WINDOW) == 6


def test_a_coarser_frequency_takes_each_nth_date() -> None:
    daily = Calendar(START, END, H6, GAPS, every=4)
    assert [d.hour for d in daily.dates(TRAINING)] == [0] * 12
    day = timedelta(days=1)
    assert periods.anchors(daily, TRAINING, Window((-day, timedelta(0), day))) == 7  # the gap of 14 January


@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 3), st.integers(1, 2))
def test_anchors_agree_with_counting_by_hand(first: int, last: int, inputs: int, outputs: int) -> None:
    span = Span(start=START + first * H6, end=START + last * H6)
    window = Window(tuple(i * H6 for i in range(1 - inputs, outputs + 1)))
    dates = [START + i * H6 for i in range(first, last + 1)]
    expected = 0
    for i in range(len(dates)):
        needed = range(i + 1 - inputs, i + outputs + 1)
        if needed.start >= 0 and needed.stop <= len(dates) and not any(dates[j] in GAPS for j in needed):
            expected += 1
    assert periods.anchors(STORM, span, window) == expected


@given(st.floats(0.05, 1.0))
def test_a_subset_is_the_start_of_the_training_period(share: float) -> None:
    try:
        part = periods.subset(STORM, TRAINING, share, WINDOW)
    except StudyError:
        assert round(share * 48) < 3
        return
    assert part.start == TRAINING.start
    assert part.end <= TRAINING.end
    assert len(STORM.dates(part)) == round(share * 48)


def test_all_of_the_period_is_a_subset_too() -> None:
    assert periods.subset(STORM, TRAINING, 1.0, WINDOW) == TRAINING


@pytest.mark.parametrize("share", [0.0001, 0.02, 0.05])
def test_a_subset_smaller_than_one_sample_is_refused(share: float) -> None:
    with pytest.raises(StudyError, match=r"no training sample, which spans 12h"):
        periods.subset(STORM, TRAINING, share, WINDOW)


YEARS = Calendar(datetime(1990, 1, 1), datetime(1999, 12, 31, 18), H6)
DECADE = Span(start=YEARS.start, end=datetime(1997, 12, 31, 18))


def samples(calendar: Calendar, parts: list[Span], window: Window) -> list[datetime]:
    """First dates of the samples of some blocks, each counted by hand from its dates."""
    found = []
    step = calendar.frequency * calendar.every
    length = max(window.offsets) - min(window.offsets)
    for part in parts:
        date = part.start
        while date + length <= part.end:
            needed = [date + offset - min(window.offsets) for offset in window.offsets]
            if not calendar.missing & set(needed):
                found.append(date)
            date += step
    return found


@given(st.floats(0.03, 0.99), st.integers(0, 99), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_blocks_have_exactly_the_share_of_the_samples(
    share: float, seed: int, inputs: int, outputs: int, every: int
) -> None:
    calendar = Calendar(START, END, H6, GAPS, every)
    window = Window(tuple(i * H6 * every for i in range(1 - inputs, outputs + 1)))
    whole = periods.anchors(calendar, TRAINING, window)
    if not round(share * whole):
        with pytest.raises(StudyError, match="has no sample"):
            periods.blocks(calendar, TRAINING, share, window, seed)
        return
    parts = periods.blocks(calendar, TRAINING, share, window, seed)
    found = samples(calendar, parts, window)
    assert len(found) == round(share * whole) == len(set(found))
    assert sum(periods.anchors(calendar, part, window) for part in parts) == len(found)
    for part in parts:
        assert TRAINING.start <= part.start < part.end <= TRAINING.end
        assert part.end - part.start >= window.length
    # a date at least lies between, so that no window goes across
    assert all(b.start - a.end >= 2 * H6 * every for a, b in pairwise(parts))
    assert periods.blocks(calendar, TRAINING, share, window, seed) == parts


def test_declaring_the_gaps_missing_leaves_the_same_samples() -> None:
    """As a training counts them that knows the whole period and the missing dates."""
    for seed in range(20):
        parts = periods.blocks(STORM, TRAINING, 0.3, WINDOW, seed)
        told = Calendar(START, END, H6, GAPS | set(periods.gaps(STORM, parts)))
        hull = Span(start=parts[0].start, end=parts[-1].end)
        assert periods.anchors(told, hull, WINDOW) == len(samples(STORM, parts, WINDOW))


def test_blocks_see_all_seasons_of_all_years() -> None:
    parts = periods.blocks(YEARS, DECADE, 0.05, WINDOW, 0)
    assert len(parts) == 96
    seen = {(part.start.year, (part.start.month - 1) // 3) for part in parts}
    assert len(seen) == 32
    assert max(b.start - a.start for a, b in pairwise(parts)) < timedelta(days=62)


def test_blocks_of_another_seed_lie_elsewhere() -> None:
    one, other = (periods.blocks(YEARS, DECADE, 0.05, WINDOW, seed) for seed in (0, 1))
    assert len(one) == len(other)
    assert not {part.start for part in one} >= {part.start for part in other}


def test_places_of_blocks_are_uniform_in_their_strata() -> None:
    """Over 400 seeds the first of 10 blocks begins anywhere in its stratum: chi-square of 5 bins, 0.1 %: 18.5."""
    calendar = Calendar(YEARS.start, YEARS.start + timedelta(days=100), H6)
    span = Span(start=calendar.start, end=calendar.end)
    starts = [periods.blocks(calendar, span, 0.1, WINDOW, seed)[0].start for seed in range(400)]
    assert min(starts) == calendar.start
    places = [(start - calendar.start) // H6 for start in starts]
    number = max(places) + 1
    counts = [sum(place * 5 // number == i for place in places) for i in range(5)]
    assert sum((count - 80) ** 2 / 80 for count in counts) < 25


def test_the_length_of_blocks_can_be_stated() -> None:
    parts = periods.blocks(YEARS, DECADE, 0.05, WINDOW, 0, timedelta(days=7))
    lengths = {part.end - part.start + H6 for part in parts}
    assert lengths <= {timedelta(days=7) + n * H6 for n in (-1, 0, 1)}
    assert len(samples(YEARS, parts, WINDOW)) == round(0.05 * periods.anchors(YEARS, DECADE, WINDOW))


@pytest.mark.parametrize(
    ("share", "length", "told"),
    [
        (0.05, timedelta(hours=12), "block of 12h is shorter than a training sample, which needs 18h"),
        (0.8, timedelta(days=1), "blocks of 1d, and there are at most 600"),
        (0.97, timedelta(days=10), "blocks of 10d do not fit into the training period"),
    ],
)
def test_blocks_that_cannot_be_are_refused(share: float, length: timedelta, told: str) -> None:
    period = DECADE if share < 0.97 else Span(start=DECADE.start, end=DECADE.start + timedelta(days=100))
    with pytest.raises(StudyError, match=told):
        periods.blocks(YEARS, period, share, WINDOW, 0, length)


def test_the_length_that_is_advised_does() -> None:
    with pytest.raises(StudyError, match="at most 600") as caught:
        periods.blocks(YEARS, DECADE, 0.3, WINDOW, 0, timedelta(days=1))
    advised = duration(str(caught.value.hint).removeprefix("Raise hpo.step1.block to ").rstrip("."))
    assert len(periods.blocks(YEARS, DECADE, 0.3, WINDOW, 0, advised)) <= 600


def test_split_into_blocks() -> None:
    spans = {"training": TRAINING, "validation": VALIDATION, "test": TEST}
    split, counted = periods.split(STORM, WINDOW, spans, 0.25, contiguous=False, seed=3)
    assert counted == {"training": 39, "validation": 6, "test": 6, "subset": 10}
    assert split.blocks == periods.blocks(STORM, TRAINING, 0.25, WINDOW, 3)
    assert (split.subset.start, split.subset.end) == (split.blocks[0].start, split.blocks[-1].end)
    dates = [date + H6 for date in samples(STORM, split.blocks, WINDOW)]
    text = "".join(f"{date.isoformat()}\n" for date in dates)
    assert split.members == hashlib.sha256(text.encode()).hexdigest()
    other, _ = periods.split(STORM, WINDOW, spans, 0.25, contiguous=False, seed=4)
    assert other.members != split.members
    whole, counted = periods.split(STORM, WINDOW, spans, 1.0, contiguous=False)
    assert whole.subset == TRAINING
    assert whole.blocks == []
    assert counted["subset"] == 39


def test_split_counts_every_part() -> None:
    spans = {"training": TRAINING, "validation": VALIDATION, "test": TEST}
    split, samples = periods.split(STORM, WINDOW, spans, 0.25)
    assert samples == {"training": 39, "validation": 6, "test": 6, "subset": 10}
    assert split.subset.end == datetime(1996, 1, 7, 18)


@pytest.mark.parametrize(
    ("name", "span", "message"),
    [
        ("test", Span(start=datetime(1997, 1, 1), end=datetime(1997, 2, 1)), "the test period .* no sample"),
        ("test", VALIDATION, "overlaps"),
        ("validation", Span(start=datetime(1996, 1, 16, 18), end=END), "overlaps"),
        ("training", Span(start=END, end=START), "no sample"),
    ],
)
def test_periods_that_cannot_be_are_refused(name: str, span: Span, message: str) -> None:
    spans = {"training": TRAINING, "validation": VALIDATION, "test": TEST, name: span}
    with pytest.raises(StudyError, match=message):
        periods.split(STORM, WINDOW, spans, 0.5)
