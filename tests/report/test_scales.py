"""Axes suit their values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.report.figure import Axis
from ml_suite.report.scales import parts, ticks, value_axis, whole_ticks

POSITIVE = st.floats(1e-12, 1e12)


@given(st.lists(POSITIVE, min_size=1, max_size=30))
def test_a_logarithmic_axis_shows_all_values_and_has_ticks_inside(values: list[float]) -> None:
    axis = value_axis("x", values, log=True)
    assert axis.log is (max(values) >= 2 * min(values))
    assert axis.range is not None
    low, high = axis.range
    assert low < min(values) <= max(values) < high
    found = ticks(axis) or [(low, "chosen by the plotting library")]
    assert all(low <= place <= high for place, _ in found)
    assert 1 <= len(found) <= 11
    assert len({label for _, label in found}) == len(found)


@pytest.mark.parametrize(
    ("values", "log"),
    [([1e-4, 1e-2], True), ([0.5, 0.9], False), ([-1.0, 100.0], False), ([0.0, 1e5], False), ([], False)],
)
def test_values_over_decades_get_a_logarithmic_axis(values: list[float], log: bool) -> None:
    assert value_axis("x", values).log is log


def test_a_value_far_off_does_not_flatten_the_others() -> None:
    values = [0.9 + i / 1000 for i in range(50)] + [-1e6]
    axis = value_axis("R2", values)
    assert axis.range is not None
    assert axis.range[0] > 0.8
    assert value_axis("R2", values[:-1]).range == axis.range


def test_values_that_are_no_numbers_are_left_out() -> None:
    assert value_axis("x", [None, math.nan, math.inf, 1.0, 2.0]).range == (0.95, 2.05)


def test_labels_are_typeset_with_powers_where_zeros_would_not_be_read() -> None:
    assert parts("3e-4") == ("3", "\N{MINUS SIGN}4")
    assert all(parts(name) is None for name in ("relu", "e5", "base4e2", "2e"))
    assert [label for _, label in ticks(Axis("x", True, (1e-5, 1e-2))) or []] == [
        "1e-5",
        "1e-4",
        "1e-3",
        "1e-2",
    ]
    assert [label for _, label in ticks(Axis("x", True, (8.0, 1100.0))) or []] == [
        "10",
        "30",
        "100",
        "300",
        "1000",
    ]
    shares = ticks(Axis("x", True, (0.001, 1.0), percent=True)) or []
    assert [label for _, label in shares] == ["0.1 %", "1 %", "10 %", "100 %"]


def test_whole_numbers_get_whole_ticks() -> None:
    assert [label for _, label in whole_ticks(1, 4)] == ["1", "2", "3", "4"]
    assert [label for _, label in whole_ticks(1, 20)] == [str(n) for n in range(2, 21, 2)]
