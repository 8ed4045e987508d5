"""Errors against numbers made in another way."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ml_suite.evaluation.rmse import ErrorSums, area_weights, skill


def test_weights_are_cosines_and_never_negative() -> None:
    weights = area_weights(np.array([0.0, 60.0, -60.0, 90.0, 90.0000001], dtype=np.float32))
    assert weights[:3] == pytest.approx([1, 0.5, 0.5], rel=1e-6)
    assert (weights >= 0).all()
    assert weights[3] < 1e-7


def test_rmse_is_the_pooled_weighted_mean_by_hand() -> None:
    """Two forecasts, three points of weights 1, 1/2, 1/4, one of them NaN once: in exact fractions."""
    sums = ErrorSums(np.array([1.0, 0.5, 0.25]), 1)
    sums.add("t", 0, np.array([1.0, 2.0, np.nan]), np.array([0.0, 0.0, 0.0]))
    sums.add("t", 0, np.array([0.0, 0.0, 4.0]), np.array([3.0, 0.0, 0.0]))
    squares = Fraction(1) + Fraction(4, 2) + Fraction(9) + Fraction(16, 4)
    area = Fraction(1) + Fraction(1, 2) + Fraction(1) + Fraction(1, 2) + Fraction(1, 4)
    assert sums.rmse() == {"t": [pytest.approx(math.sqrt(squares / area), rel=1e-15)]}


def test_a_gap_in_the_analysis_is_left_out_too() -> None:
    sums = ErrorSums(np.ones(2), 2)
    sums.add("v", 1, np.array([1.0, 1.0]), np.array([np.nan, 3.0]))
    assert sums.rmse() == {"v": [None, 2.0]}


def test_persistence_at_lead_zero_is_zero() -> None:
    field = np.random.default_rng(0).normal(1e5, 1e3, 500).astype(np.float32)
    sums = ErrorSums(np.ones(500), 1)
    sums.add("msl", 0, field, field)
    assert sums.rmse() == {"msl": [0.0]}


def test_single_precision_fields_lose_nothing() -> None:
    """Pressures near 1e5 Pa: squares summed in single precision would be off in the third digit."""
    generator = np.random.default_rng(1)
    truth = generator.normal(1e5, 1e3, 50_000).astype(np.float32)
    forecast = (truth + generator.normal(0, 1, truth.size)).astype(np.float32)
    sums = ErrorSums(np.ones(truth.size), 1)
    sums.add("msl", 0, forecast, truth)
    exact = math.sqrt(
        math.fsum((float(f) - float(t)) ** 2 for f, t in zip(forecast, truth, strict=True)) / truth.size
    )
    assert sums.rmse()["msl"][0] == pytest.approx(exact, rel=1e-12)


def test_skill_is_one_when_perfect_zero_as_persistence_and_open_when_undefined() -> None:
    reference = {"t": [2.0, 2.0, 0.0, None]}
    assert skill({"t": [0.0, 2.0, 1.0, 1.0], "new": [1.0]}, reference) == {"t": [1.0, 0.0, None, None]}
