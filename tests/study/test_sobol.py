"""Sobol points: as even as they should be, the same everywhere, and other ones for another seed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.stats import qmc

from ml_suite.errors import StudyError
from ml_suite.study import sobol, space
from ml_suite.study.sobol import Sobol

KEYS = ["x", "y", "units[0]", "units[1]", "a.b"]


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_each_coordinate_has_one_point_in_each_interval(seed: int) -> None:
    """What scrambling must not destroy: aligned runs of 2^m points are stratified."""
    for first, count in ((0, 256), (256, 256), (64, 64), (1024, 1024)):
        points = sobol.points(KEYS, seed, first, count)
        assert points.shape == (count, len(KEYS))
        assert ((points >= 0) & (points < 1)).all()
        for column in (points * count).astype(int).T:
            assert sorted(column) == list(range(count))


def test_pairs_of_coordinates_are_even_too() -> None:
    points = sobol.points(KEYS[:2], 5, 0, 1024)
    cells = (points * 32).astype(int)
    assert len({tuple(cell) for cell in cells.tolist()}) == 1024


def test_they_are_more_even_than_random_points() -> None:
    random = np.random.default_rng(0).random((512, len(KEYS)))
    ours = [qmc.discrepancy(sobol.points(KEYS, seed, 0, 512)) for seed in range(5)]
    assert max(ours) < qmc.discrepancy(random) / 5


def test_points_do_not_depend_on_where_one_begins() -> None:
    whole = sobol.points(KEYS, 1, 0, 200)
    assert np.array_equal(sobol.points(KEYS, 1, 130, 70), whole[130:])


def test_seeds_are_different_sequences() -> None:
    one, other = (sobol.points(KEYS, seed, 0, 512) for seed in (0, 1))
    assert not np.isin(one, other).any()


def test_each_point_is_uniform_over_the_seeds() -> None:
    """So that no trial is special: Kolmogorov-Smirnov, below the 0.1 % critical value; coordinates not correlated."""
    n = 1000
    points = np.array([sobol.points(["x", "y"], seed, 0, 4) for seed in range(n)])
    for i in range(4):
        for column in points[:, i, :].T:
            distance = np.abs(np.sort(column) - (np.arange(n) + 0.5) / n).max() + 0.5 / n
            assert distance < 1.95 / n**0.5
        assert abs(np.corrcoef(points[:, i, :].T)[0, 1]) < 4 / n**0.5


def test_the_first_points_are_frozen() -> None:
    """Other numbers would make every recorded study another one."""
    assert sobol.points(["x", "y"], 0, 0, 2).tolist() == FROZEN


FROZEN = [[0.017914324533194304, 0.027000637259334326], [0.6339378729462624, 0.6261445169802755]]


def test_a_coordinate_belongs_to_its_name() -> None:
    """Adding a hyperparameter at the end of a space changes no other one."""
    assert np.array_equal(sobol.points([*KEYS, "new"], 2, 0, 64)[:, :-1], sobol.points(KEYS, 2, 0, 64))


def test_more_coordinates_than_are_known_are_refused() -> None:
    ready = space.build(space.parse({f"x{i}": {"int": [0, 1]} for i in range(3)}))
    Sobol(ready, 0)
    many = {"n": {"int": [1, 1000]}, **{f"x{i}": {"int": [0, 1], "per": "n"} for i in range(22)}}
    with pytest.raises(StudyError, match="22001 coordinates, and Sobol points have at most 21201"):
        Sobol(space.build(space.parse(many)), 0)


def test_without_scipy_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(StudyError, match=r"needs scipy(?s:.*)ml-suite\[study\]"):
        sobol.points(["x"], 0, 0, 1)
