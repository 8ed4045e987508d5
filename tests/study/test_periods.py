"""Training samples from dates, gaps and windows."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
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
