from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_suite.study import copula


def pair(rho: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    a = random.standard_normal(n)
    return a, rho * a + math.sqrt(1 - rho * rho) * random.standard_normal(n)


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.3, 0.7, 0.95])
def test_the_correlation_of_a_gaussian_copula_is_recovered_whatever_the_shape(rho: float) -> None:
    a, b = pair(rho, 4000, 1)
    found = copula.agreement(np.exp(3 * a), b**3)
    assert found is not None
    assert found.rho == pytest.approx(rho, abs=0.03)


def test_the_interval_covers_the_true_correlation_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(300):
        found = copula.agreement(*pair(0.7, 32, seed), confidence=0.9)
        assert found is not None
        inside += found.low <= 2 / math.pi * math.asin(0.7) <= found.high
    assert 0.85 <= inside / 300 <= 0.96


def test_too_few_pairs_are_not_judged() -> None:
    assert copula.agreement(range(7), range(7)) is None
    assert copula.kendall([1.0, 2.0], [1.0, 2.0]) is None


def test_pairs_without_a_value_do_not_count() -> None:
    a = [*range(12), math.nan, 5.0]
    b = [*range(12), 1.0, math.inf]
    found = copula.agreement(a, b)
    assert found is not None
    assert found.points == 12
    assert found.tau == pytest.approx(1.0)


def test_a_perfect_agreement_of_few_points_is_not_certain() -> None:
    found = copula.agreement(range(10), range(10))
    assert found is not None
    assert found.high == pytest.approx(1.0)
    assert found.low < 0.95


def test_equal_values_everywhere_have_no_rank_correlation() -> None:
    assert copula.agreement([1.0] * 20, range(20)) is None


def test_ties_are_neither_for_nor_against() -> None:
    assert copula.kendall([1, 1, 2, 2], [1, 1, 2, 2]) == pytest.approx(1.0)
    assert abs(copula.kendall([1, 1, 2, 2], [1, 2, 1, 2]) or 0) < 1e-12


def test_a_perfect_subset_keeps_the_best_and_a_worthless_one_by_chance() -> None:
    assert copula.simulate(1.0, 100, 1).kept.all()
    blind = copula.simulate(0.0, 100, 10, draws=4000)
    assert blind.kept.mean() == pytest.approx(0.1, abs=0.02)
    # the best of ten drawn at random has rank (n + 1) / (k + 1) on the average
    assert blind.rank.mean() == pytest.approx(101 / 11, rel=0.05)


def test_known_figures_of_ten_thousand_trials() -> None:
    found = copula.simulate(0.7, 10_000, 50, draws=300, seed=1)
    assert 1 <= np.median(found.rank) <= 3
    assert 0.4 < found.kept.mean() < 0.6


def test_the_same_seed_gives_the_same_searches() -> None:
    first, second = (copula.simulate(0.5, 50, 5, seed=3) for _ in range(2))
    assert (first.rank == second.rank).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1), st.integers(1, 60), st.data())
def test_the_winners_rank_is_possible(rho: float, trials: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, trials))
    found = copula.simulate(rho, trials, kept, draws=20)
    assert found.rank.min() >= 1
    assert found.rank.max() <= trials - kept + 1
    assert ((found.rank == 1) == found.kept).all()


@pytest.mark.parametrize("kept", [0, 11])
def test_a_number_to_keep_that_cannot_be_is_refused(kept: int) -> None:
    with pytest.raises(ValueError, match="of 10 trials"):
        copula.simulate(0.5, 10, kept)
