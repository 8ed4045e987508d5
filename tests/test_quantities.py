"""Quantities: what a person writes is read, and written back the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite import quantities


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43200), ("1d", 86400), ("2h30m", 9000), ("1 w", 604800)],
)
def test_duration(text: str, seconds: int) -> None:
    assert quantities.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["12", 12, 12.0, "h", "12 hours", "-1h", "1.5h", "", None, True, "1h!", "h1"]
)
def test_duration_needs_a_number_and_a_unit(text: object) -> None:
    with pytest.raises(ValueError, match="a number and a unit"):
        quantities.duration(text)


def test_duration_fits_a_calendar() -> None:
    with pytest.raises(ValueError, match="longer than a calendar"):
        quantities.duration("9" * 30 + "w")


@given(st.integers(0, 10**8))
def test_duration_is_written_as_it_is_read(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert quantities.duration(quantities.format_duration(span)) == span


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.5%", 0.005), ("100%", 1.0), ("1e-3 %", 1e-5)])
def test_fraction(text: str, share: float) -> None:
    assert quantities.fraction(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", 5, 0.05, "five%", "%", None, "-5%"])
def test_fraction_needs_a_percent_sign(text: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        quantities.fraction(text)


@pytest.mark.parametrize("text", ["0%", "101%"])
def test_fraction_lies_in_range(text: str) -> None:
    with pytest.raises(ValueError, match="at most 100%"):
        quantities.fraction(text)


@given(st.floats(1e-6, 1.0))
def test_fraction_is_written_as_it_is_read(share: float) -> None:
    assert quantities.fraction(quantities.format_fraction(share)) == pytest.approx(share, rel=1e-9)


def test_gpu_hours() -> None:
    assert quantities.gpu_hours("3000 GPUh") == 3000.0
    assert quantities.format_gpu_hours(quantities.gpu_hours("12.5GPUh")) == "12.5 GPUh"


@pytest.mark.parametrize("text", [3000, "3000", "3000 h", "3000 gpuh", "9" * 400 + " GPUh", None])
def test_gpu_hours_need_their_unit(text: object) -> None:
    with pytest.raises(ValueError, match="unit GPUh"):
        quantities.gpu_hours(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1_500_000, "1.4 MiB"), (2**60, "1024.0 PiB")]
)
def test_bytes(size: int, text: str) -> None:
    assert quantities.format_bytes(size) == text
