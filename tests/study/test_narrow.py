"""The space between some trials."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import narrow, space, trials
from ml_suite.study.contract import Choice
from tests.study.results import plan
from tests.study.spaces import PAPER, check, spaces

SEARCH: dict[str, dict[str, Any]] = {
    **PAPER,
    "lr": {"log": [1e-5, 1e-1]},
    "optimiser": {"choice": ["adam", "sgd", "lion"]},
    "momentum": {"float": [0.0, 1.0], "when": {"optimiser": ["sgd", "lion"]}},
    "warmup": {"int": [0, 9], "when": {"optimiser": "lion"}},
}
BETWEEN: list[dict[str, Any]] = [
    {"layers": 2, "units": [64, 256], "lr": 1e-3, "optimiser": "adam"},
    {"layers": 4, "units": [64, 64, 16, 64], "lr": 3e-4, "optimiser": "sgd", "momentum": 0.9},
    {"layers": 3, "units": [256, 16, 16], "lr": 2e-3, "optimiser": "sgd", "momentum": 0.5},
]


def test_ranges_become_those_of_the_candidates() -> None:
    found = narrow.dump(narrow.between_them(space.parse(SEARCH), BETWEEN))
    assert found == {
        "layers": {"int": [2, 4]},
        "units": {"choice": [16, 64, 256], "per": "layers"},
        "lr": {"log": [3e-4, 2e-3]},
        "optimiser": {"choice": ["adam", "sgd"]},
        "momentum": {"float": [0.5, 0.9], "when": {"optimiser": ["sgd"]}},
    }


def test_new_trials_lie_between_the_candidates() -> None:
    study = plan(space=SEARCH, choice=Choice(narrow=40), constraints=["units[0] >= units[-1]"])
    found = narrow.trials(study, BETWEEN)
    assert len({number for number, _ in found}) == 40
    narrower = narrow.between_them(space.parse(SEARCH), BETWEEN)
    for number, params in found:
        assert number >= 10_000_000
        assert number < 2**31
        check(narrower, params)
        check(space.parse(SEARCH), params)
        assert params["units"][0] >= params["units"][-1]
    assert narrow.trials(study, BETWEEN) == found
    assert narrow.trials(study.model_copy(update={"choice": Choice(narrow=5)}), BETWEEN) == found[:5]


def test_other_candidates_make_trials_of_other_numbers() -> None:
    study = plan(space=SEARCH, choice=Choice(narrow=3))
    one, other = (dict(narrow.trials(study, between)) for between in (BETWEEN, BETWEEN[:2]))
    assert not one.keys() & other.keys()


@given(spaces(), st.integers(0, 99), st.integers(2, 6))
def test_all_candidates_are_in_the_narrower_space(written: dict[str, Any], seed: int, count: int) -> None:
    study = plan(space=written, seed=seed, choice=Choice(narrow=10))
    between = [trials.parameters(study, trial) for trial in range(count)]
    try:
        found = narrow.trials(study, between)
    except StudyError:
        # each hyperparameter, and all values of a list together, has one value in all of them
        for name in written:
            values = [params[name] for params in between if name in params]
            flat = [v for value in values for v in value] if "per" in written[name] else values
            assert len({repr(value) for value in flat}) <= 1
        return
    narrower = narrow.between_them(space.parse(written), between)
    for params in [*between, *(params for _, params in found)]:
        check(narrower, params)
    for _, params in found:
        check(space.parse(written), params)


def test_candidates_that_are_the_same_have_nothing_between_them() -> None:
    same = [BETWEEN[0] | {"units": [64, 64]}] * 2
    with pytest.raises(StudyError, match="nothing between the 2 candidates"):
        narrow.trials(plan(space=SEARCH, choice=Choice(narrow=3)), same)
