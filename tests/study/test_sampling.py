"""Trial i is a pure function of (seed, i)."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.study import sampling, space

SPACE = space.parse(
    {
        "training.optimization.lr": {"log": [1e-5, 1e-2]},
        "model.num_channels": {"choice": [16, 32, 64]},
        "model.processor.num_layers": {"int": [1, 4]},
        "dropout": {"float": [0.0, 0.5]},
    }
)


def test_the_first_draws_never_change() -> None:
    """Frozen: other values would make every recorded study another one."""
    assert sampling.draw(SPACE, 7, 0) == {
        "training.optimization.lr": 0.00926411,
        "model.num_channels": 64,
        "model.processor.num_layers": 2,
        "dropout": 0.140692,
    }
    assert sampling.uniform(0, 3, "x") == sampling.uniform(0, 3, "x")
    assert sampling.uniform(0, 3, "x") != sampling.uniform(0, 3, "y")
    assert sampling.uniform(1, 3, "x") != sampling.uniform(0, 3, "x")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_values_lie_in_their_ranges(seed: int, trial: int) -> None:
    drawn = sampling.draw(SPACE, seed, trial)
    assert 1e-5 <= drawn["training.optimization.lr"] <= 1e-2
    assert drawn["model.num_channels"] in (16, 32, 64)
    assert drawn["model.processor.num_layers"] in (1, 2, 3, 4)
    assert 0.0 <= drawn["dropout"] <= 0.5


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_dimension_does_not_depend_on_the_others(seed: int, trial: int) -> None:
    alone = {"dropout": SPACE["dropout"]}
    assert sampling.draw(alone, seed, trial)["dropout"] == sampling.draw(SPACE, seed, trial)["dropout"]


@pytest.mark.parametrize("name", ["x", "training.optimization.lr", "a/b"])
def test_draws_are_uniform(name: str) -> None:
    """Kolmogorov-Smirnov against [0, 1): 10,000 draws stay below the 0.1 % critical value."""
    n = 10_000
    numbers = sorted(sampling.uniform(5, i, name) for i in range(n))
    distance = max(max((i + 1) / n - u, u - i / n) for i, u in enumerate(numbers))
    assert distance < 1.95 / math.sqrt(n)


def test_neighbouring_trials_and_names_are_not_correlated() -> None:
    n = 10_000
    x = [sampling.uniform(0, i, "x") - 0.5 for i in range(n + 1)]
    y = [sampling.uniform(0, i, "y") - 0.5 for i in range(n)]
    for other in (x[1:], y):
        correlation = sum(a * b for a, b in zip(x, other, strict=False)) / n * 12
        assert abs(correlation) < 4 / math.sqrt(n)


def test_integers_and_choices_are_equally_likely() -> None:
    n = 8000
    layers = Counter(sampling.draw(SPACE, 1, i)["model.processor.num_layers"] for i in range(n))
    assert set(layers) == {1, 2, 3, 4}
    assert all(abs(count - n / 4) < 5 * math.sqrt(n / 4) for count in layers.values())


@given(st.floats(0, 1, exclude_max=True))
def test_a_range_of_one_value_gives_it(uniform: float) -> None:
    assert space.value(Dimension(int=(3, 3)), uniform) == 3
    assert space.value(Dimension(choice=["a"]), uniform) == "a"


@given(st.floats(1e-12, 1e6), st.floats(1.0001, 1e6), st.floats(0, 1, exclude_max=True))
def test_real_ranges_are_never_left_by_rounding(low: float, factor: float, uniform: float) -> None:
    high = low * factor
    assert low <= space.value(Dimension(log=(low, high)), uniform) <= high
    assert low <= space.value(Dimension(float=(low, high)), uniform) <= high


@pytest.mark.parametrize("given_space", [{}, {"x": {"float": [1, 0]}}, {"x": {"norm": [0, 1]}}])
def test_a_space_that_cannot_be_read_is_refused(given_space: dict[str, dict[str, object]]) -> None:
    with pytest.raises(StudyError):
        space.parse(given_space)
