"""Start dates: inside the period, on dates with data, spread evenly."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.evaluation.starts import choose_starts, spread
from ml_suite.study.contract import Span

STEP = timedelta(hours=6)
FIRST = datetime(1996, 1, 5)
DATES = [FIRST + i * STEP for i in range(64)]
TEST = Span(start=datetime(1996, 1, 19), end=datetime(1996, 1, 20, 18))
LAGS = [-STEP, timedelta(0)]
LEADS = [STEP * i for i in range(1, 5)]


def test_the_demo_period_has_room_for_three() -> None:
    assert choose_starts(DATES, TEST, LAGS, LEADS, 3) == [datetime(1996, 1, 19, h) for h in (6, 12, 18)]


def test_a_missing_date_moves_no_forecast_across_it() -> None:
    gap = datetime(1996, 1, 19, 12)
    with pytest.raises(StudyError, match=r"lead_time"):
        choose_starts([d for d in DATES if d != gap], TEST, LAGS, LEADS, 3)
    assert choose_starts([d for d in DATES if d != gap], TEST, LAGS, LEADS[:1], 9) == [
        datetime(1996, 1, 20),
        datetime(1996, 1, 20, 6),
        datetime(1996, 1, 20, 12),
    ]


@given(
    present=st.sets(st.integers(0, 63)),
    window=st.tuples(st.integers(0, 63), st.integers(0, 63)),
    leads=st.integers(1, 8),
    wanted=st.integers(1, 10),
)
def test_every_start_can_be_made_and_verified(
    present: set[int], window: tuple[int, int], leads: int, wanted: int
) -> None:
    dates = {DATES[i] for i in present}
    period = Span(start=DATES[min(window)], end=DATES[max(window)])
    steps = [STEP * i for i in range(1, leads + 1)]
    try:
        found = choose_starts(dates, period, LAGS, steps, wanted)
    except StudyError:
        return
    assert 1 <= len(found) <= wanted
    assert found == sorted(set(found))
    for start in found:
        for offset in (*LAGS, *steps):
            assert start + offset in dates
            assert period.start <= start + offset <= period.end


@given(count=st.integers(1, 60), wanted=st.integers(2, 60))
def test_the_first_and_the_last_are_among_the_chosen(count: int, wanted: int) -> None:
    chosen = spread(DATES[:count], wanted)
    assert len(chosen) == min(count, wanted)
    assert {chosen[0], chosen[-1]} == {DATES[0], DATES[count - 1]}
