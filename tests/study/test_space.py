"""Spaces with lists, conditions and constraints, whatever way trials are drawn."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import sampling, space, trials
from ml_suite.study.contract import Rungs
from tests.study.results import plan
from tests.study.spaces import PAPER, check, spaces

OPTIMISERS: dict[str, dict[str, Any]] = {
    "momentum": {"float": [0.0, 0.99], "when": {"optimiser": "sgd"}},
    "optimiser": {"choice": ["adam", "sgd"]},
    "beta": {"float": [0.9, 0.999], "when": {"optimiser": ["adam"]}},
}


@given(
    spaces(),
    st.sampled_from(["random", "sobol"]),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_every_trial_fulfils_its_space_in_any_order_of_asking(
    written: dict[str, Any], sampling_: str, seed: int, asked: list[int]
) -> None:
    study = plan(space=written, sampling=sampling_, seed=seed, trials=50)
    found = {trial: trials.parameters(study, trial) for trial in asked}
    parsed = space.parse(written)
    for params in found.values():
        check(parsed, params)
    fresh = study.model_copy()
    assert all(trials.parameters(fresh, trial) == found[trial] for trial in sorted(found))


@given(st.integers(0, 10**6), st.sampled_from(["random", "sobol"]))
def test_every_trial_fulfils_its_constraints(seed: int, sampling_: str) -> None:
    constraints = ["units[0] >= units[-1]", "layers <= 3 or momentum > 0.5 or optimiser == 'adam'"]
    study = plan(space={**PAPER, **OPTIMISERS}, constraints=constraints, sampling=sampling_, seed=seed)
    for trial in range(20):
        params = trials.parameters(study, trial)
        check(space.parse(study.space), params)
        assert params["units"][0] >= params["units"][-1]
        assert params["layers"] <= 3 or params.get("momentum", 1.0) > 0.5


FROZEN: list[dict[str, Any]] = [
    {
        "layers": 19,
        "units": [32, 2048, 1024, 512, 16, 8, 8, 32, 256, 128, 16, 16, 128, 256, 1024, 128, 64, 64, 128],
    },
    {"layers": 9, "units": [2048, 64, 1024, 512, 256, 512, 256, 512, 8]},
    {"layers": 2, "units": [256, 1024], "lr": 0.000659089},
]


def test_the_first_draws_of_lists_never_change() -> None:
    """Frozen: other values would make every recorded study another one."""
    ready = space.build(space.parse(PAPER))
    assert sampling.draw(ready, 7, 1) == FROZEN[0]
    constrained = space.build(space.parse(PAPER), ["units[0] > 2 * units[-1]", "layers > 1"])
    assert sampling.draw(constrained, 7, 0) == FROZEN[1]
    sobol = plan(space={**PAPER, "lr": {"log": [1e-4, 1e-1]}}, sampling="sobol", seed=3)
    assert trials.parameters(sobol, 2) == FROZEN[2]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_more_layers_do_not_change_the_first_ones(seed: int, trial: int) -> None:
    deeper = {**PAPER, "layers": {"int": [20, 20]}}
    few = sampling.draw(space.parse(PAPER), seed, trial)["units"]
    many = sampling.draw(space.parse(deeper), seed, trial)["units"]
    assert many[: len(few)] == few


def test_a_condition_changes_no_other_value() -> None:
    free = {name: {k: v for k, v in given.items() if k != "when"} for name, given in OPTIMISERS.items()}
    for trial in range(50):
        bound, all_of_them = (sampling.draw(space.parse(s), 3, trial) for s in (OPTIMISERS, free))
        assert bound.items() <= all_of_them.items()
        assert ("momentum" in bound) is (bound["optimiser"] == "sgd") is ("beta" not in bound)


def test_what_a_constraint_accepts_at_once_is_what_it_was_without() -> None:
    """Rejection begins with the draw that there is without constraints."""
    free, bound = (space.build(space.parse(PAPER), texts) for texts in ([], ["units[0] >= units[-1]"]))
    same = 0
    for trial in range(200):
        before, after = sampling.draw(free, 1, trial), sampling.draw(bound, 1, trial)
        if before["units"][0] >= before["units"][-1]:
            same += 1
            assert before == after
    assert 80 < same < 160


def test_rejection_does_not_favour_any_allowed_trial() -> None:
    ready = space.build(space.parse({"a": {"int": [0, 3]}, "b": {"int": [0, 3]}}), ["a < b"])
    drawn = Counter(tuple(sampling.draw(ready, 0, trial).values()) for trial in range(6000))
    assert set(drawn) == {(a, b) for a in range(4) for b in range(4) if a < b}
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in drawn.values())


@pytest.mark.parametrize("sampling_", ["random", "sobol", "grid"])
def test_threads_may_ask_at_the_same_time(sampling_: str) -> None:
    written = {"layers": {"int": [1, 4]}, "units": {"choice": [8, 16, 32], "per": "layers"}}
    one, other = (
        plan(space=written, sampling=sampling_, constraints=["units[0] >= units[-1]"], trials=60)
        for _ in range(2)
    )
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda trial: trials.parameters(one, trial), range(60)))
    assert found == [trials.parameters(other, trial) for trial in range(60)]


@pytest.mark.parametrize("sampling_", ["random", "sobol"])
def test_a_constraint_that_nothing_fulfils_is_an_error(sampling_: str) -> None:
    study = plan(space=PAPER, constraints=["layers > 20"], sampling=sampling_)
    with pytest.raises(StudyError, match=r"none of 10,000 draws fulfils the constraints \(layers > 20\)"):
        trials.parameters(study, 0)


def test_values_of_a_list_may_be_none() -> None:
    drawn = [sampling.draw(space.parse({**PAPER, "layers": {"int": [0, 1]}}), 0, i) for i in range(20)]
    assert {len(params["units"]) for params in drawn} == {0, 1}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"u": {"int": [1, 2], "per": "n"}}, r"hpo\.space\.u\.per: 'n' is not in the space"),
        ({"u": {"int": [1, 2], "when": {"n": 1}}}, r"hpo\.space\.u\.when\.n: 'n' is not in the space"),
        ({"n": {"int": [-1, 2]}, "u": {"int": [1, 2], "per": "n"}}, "'n' can be -1"),
        ({"n": {"int": [1, 2], "when": {"u": 1}}, "u": {"int": [1, 2], "when": {"n": 1}}}, "in a circle"),
        ({"n": {"float": [1, 2]}, "u": {"int": [1, 2], "per": "n"}}, "'n' is no whole number"),
        ({"n": {"int": [1, 2]}, "u": {"int": [1, 2], "when": {"n": 3}}}, "'n' is never 3"),
    ],
)
def test_a_space_that_contradicts_itself_is_refused(written: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError, match=told):
        trials.parameters(plan(space=written), 0)


def test_a_sampling_that_there_is_not_is_refused() -> None:
    with pytest.raises(StudyError, match="there is no sampling halton"):
        trials.parameters(plan(sampling="halton"), 0)


def test_trials_of_an_adaptive_sampler_come_from_its_draws() -> None:
    study = plan(sampling="optuna:tpe", rounds=2)
    assert trials.parameters(study, 3, {3: {"x": 0.25}}) == {"x": 0.25}
    with pytest.raises(StudyError, match="trial 2 is not drawn yet: optuna:tpe"):
        trials.parameters(study, 2, {3: {"x": 0.25}})
    with pytest.raises(StudyError, match="trial 2 is not drawn yet"):
        trials.parameters(study, 2)


@given(st.integers(2, 200), st.integers(1, 12), st.integers(1, 20))
def test_shards_share_all_trials_and_no_cohort(count: int, shards: int, cohort: int) -> None:
    study = plan(trials=count, shards=shards, rungs=Rungs(at=[1], keep=0.5, cohort=cohort))
    shared = [trials.of_shard(study, shard) for shard in range(shards)]
    assert sorted(trial for mine in shared for trial in mine) == list(range(count))
    assert all(mine == sorted(mine) for mine in shared)
    owners = {(trial // cohort, shard) for shard, mine in enumerate(shared) for trial in mine}
    assert len(owners) == -(-count // cohort)
    assert trials.of_shard(study, shards) == []


def test_ten_thousand_trials_are_drawn_at_once() -> None:
    """The paper's search; what they take beside asking a storage for each is in ci/bench/coordination.py."""
    for sampling_, constraints in (("random", []), ("random", ["units[0] >= units[-1]"]), ("sobol", [])):
        study = plan(space=PAPER, sampling=sampling_, constraints=constraints, trials=10_000)
        trials.parameters(study, 0)
        before = time.process_time()
        drawn = [trials.parameters(study, trial) for trial in range(10_000)]
        assert time.process_time() - before < 5
        assert len(drawn) == 10_000
