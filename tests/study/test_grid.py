"""Every combination of a space once, in an order that never changes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import space, trials
from ml_suite.study.grid import Grid
from tests.study.results import plan
from tests.study.spaces import check, spaces

LAYERED: dict[str, dict[str, Any]] = {
    "units": {"choice": [8, 16], "per": "layers"},
    "layers": {"int": [1, 3]},
    "lr": {"log": [1e-3, 1e-1], "points": 3},
}


def grid(written: dict[str, Any], constraints: tuple[str, ...] = ()) -> Grid:
    return Grid(space.build(space.parse(written), constraints))


def test_a_plain_grid_is_the_product_with_the_last_one_fastest() -> None:
    found = grid({"a": {"int": [1, 2]}, "b": {"choice": ["x", "y"]}, "c": {"float": [0.0, 1.0], "points": 3}})
    assert found.size() == 12
    expected = [
        {"a": a, "b": b, "c": c} for a, b, c in itertools.product([1, 2], ["x", "y"], [0.0, 0.5, 1.0])
    ]
    assert [found.draw(i) for i in range(12)] == expected


def test_lists_are_as_long_as_they_can_be() -> None:
    found = grid(LAYERED)
    assert found.size() == (2 + 4 + 8) * 3
    assert found.draw(0) == {"units": [8], "layers": 1, "lr": 0.001}
    assert found.draw(2) == {"units": [8], "layers": 1, "lr": 0.1}
    assert found.draw(6 + 3) == {"units": [8, 16], "layers": 2, "lr": 0.001}
    assert found.draw(41) == {"units": [16, 16, 16], "layers": 3, "lr": 0.1}


def test_a_range_has_its_points_with_both_ends() -> None:
    found = grid({"lr": {"log": [1e-4, 1e-1], "points": 4}})
    assert [found.draw(i)["lr"] for i in range(4)] == [1e-4, 1e-3, 1e-2, 1e-1]
    # rounding makes points equal; each counts once
    assert grid({"x": {"float": [1.0, 1.00001], "points": 50}}).size() == 2


def test_constraints_leave_points_out() -> None:
    found = grid(LAYERED, ("units == sorted(units)", "lr < 0.05"))
    assert found.size() == (2 + 3 + 4) * 2
    assert found.draw(4)["units"] == [8, 8]


@given(spaces(grid=True), st.booleans())
def test_a_grid_has_each_trial_of_its_space_once(written: dict[str, Any], bound: bool) -> None:
    parsed = space.parse(written)
    name = next(iter(written))
    constraints = (f"`{name}` != 8",) if bound else ()
    found = grid(written, constraints)
    if found.combinations > 20_000:
        return
    size = found.size()
    seen = set()
    for i in range(min(size, 300)):
        params = found.draw(i)
        check(parsed, params)
        assert not (bound and params.get(name) == 8)
        seen.add(json.dumps(params))
    assert len(seen) == min(size, 300)
    with pytest.raises(StudyError, match=f"the grid has {size:,} points"):
        found.draw(size)
    # whatever was asked before
    fresh = grid(written, constraints)
    assert all(fresh.draw(i) == found.draw(i) for i in reversed(range(min(size, 5))))


def test_a_random_trial_of_a_small_space_is_in_its_grid() -> None:
    written = {**LAYERED, "lr": {"choice": [1, 2]}, "m": {"int": [0, 2], "when": {"lr": 2}}}
    found = grid(written)
    whole = [found.draw(i) for i in range(found.size())]
    assert len(whole) == 14 * (1 + 3)
    assert all(trials.parameters(plan(space=written), trial) in whole for trial in range(100))


def test_a_grid_too_large_to_write_down_is_drawn_from() -> None:
    found = grid({"layers": {"int": [20, 20]}, "units": {"choice": list(range(9)), "per": "layers"}})
    assert found.size() == 9**20
    assert found.draw(9**20 - 1)["units"] == [8] * 20
    assert found.draw(9**19)["units"] == [1, *[0] * 19]


@pytest.mark.parametrize(
    ("written", "constraints", "told"),
    [
        ({"x": {"float": [0, 1]}}, (), r"how many values 'x' has\n.*\{float: \[\.\.\.\], points: 5\}"),
        ({"x": {"int": [0, 10**7]}}, (), "'x' has 10,000,001 values in a grid"),
        (
            {f"x{i}": {"int": [1, 50]} for i in range(3)}
            | {f"y{i}": {"int": [0, 1], "per": f"x{i}"} for i in range(3)},
            (),
            "more than 20,000 combinations of x0, x1, x2",
        ),
        (
            {f"x{i}": {"int": [1, 9]} for i in range(9)},
            ("x0 > 9",),
            "of the first 200,000 points .* only 0 fulfil",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused(
    written: dict[str, Any], constraints: tuple[str, ...], told: str
) -> None:
    with pytest.raises(StudyError, match=f"(?s){told}"):
        grid(written, constraints).size()


def test_more_trials_than_points_are_refused_with_the_size() -> None:
    study = plan(space={"x": {"int": [1, 3]}}, sampling="grid", trials=4)
    assert [trials.parameters(study, i)["x"] for i in range(3)] == [1, 2, 3]
    with pytest.raises(StudyError, match=r"the grid has 3 points(?s:.*)Write trials: 3"):
        trials.parameters(study, 3)
