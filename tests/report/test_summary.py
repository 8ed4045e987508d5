"""Numbers of the report."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.report.summary import NOT_RUN, account, cost, depth, failures, kendall_tau, rows, step_pairs
from ml_suite.study.contract import TrialResult, TrialState
from tests.study.results import plan

SEARCH = plan(trials=4, epochs={"step1": 2, "step2": 2})


def result(step: int, trial: int, state: TrialState = TrialState.COMPLETE, **more: object) -> TrialResult:
    values = {
        "study": "s",
        "trial": trial,
        "step": step,
        "state": state,
        "params": {"x": trial},
        "metric": "val",
        "value": float(trial) if state is TrialState.COMPLETE else None,
        "seconds": 10.0,
        "started": datetime(2026, 1, 1),
        "ended": datetime(2026, 1, 2),
        "host": "h",
    }
    return TrialResult.model_validate({**values, **more})


@given(st.lists(st.sampled_from(list(TrialState)), max_size=30), st.integers(0, 40))
def test_the_account_adds_up_to_the_number_of_trials(states: list[TrialState], more: int) -> None:
    planned = len(states) + more
    listed = rows([result(1, i, state) for i, state in enumerate(states)], "minimize", None)
    (found,) = account(listed, {1: planned})
    assert sum(found.states.values()) == planned
    assert found.states.get(NOT_RUN, 0) == more
    told = sum(len(failure.trials) for failure in failures(listed))
    assert told == sum(1 for state in states if state is not TrialState.COMPLETE)


def test_equal_reasons_are_one_line() -> None:
    listed = rows(
        [
            result(1, 0, TrialState.FAILED, reason="no such layer"),
            result(1, 1),
            result(1, 2, TrialState.FAILED, reason="no such layer"),
            result(1, 3, TrialState.DIVERGED, reason="val is not finite"),
        ],
        "minimize",
        None,
    )
    assert [(f.state, f.trials) for f in failures(listed)] == [
        (TrialState.DIVERGED, [3]),
        (TrialState.FAILED, [0, 2]),
    ]


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 3)])
def test_ranks_follow_the_direction_and_leave_failures_out(direction: str, best: int) -> None:
    listed = rows([result(1, i) for i in (1, 2, 3)] + [result(1, 0, TrialState.FAILED)], direction, None)
    assert {row.trial: row.rank for row in listed}[best] == 1
    assert {row.trial: row.rank for row in listed}[0] is None


def test_cost_counts_failures_and_estimates_one_step_from_complete_candidates() -> None:
    results = [result(1, i, seconds=10, cpu_seconds=36) for i in range(4)]
    results += [result(2, 0, seconds=100), result(2, 1, TrialState.DIVERGED, seconds=20)]
    found = cost(results, {1: 1, 2: 8}, SEARCH)
    assert [(s.trainings, s.seconds) for s in found.steps] == [(4, 40), (2, 120)]
    assert found.steps[0].cpu_hours == pytest.approx(0.04)
    assert found.steps[1].cpu_hours is None
    assert found.steps[1].gpu_hours == pytest.approx(8 * 120 / 3600)
    assert found.one_step_seconds == 400
    assert found.share == pytest.approx(0.4)


def test_the_pilot_is_a_cost_of_the_study() -> None:
    results = [result(1, i, seconds=10) for i in range(4)] + [result(2, 0, seconds=100)]
    found = cost(results, {1: 0, 2: 0}, SEARCH, pilot=[result(1, 0, seconds=30)])
    assert found.pilot is not None
    assert found.seconds == 170
    assert found.share == pytest.approx(170 / 400)


def test_other_seeds_are_no_candidates_of_their_own() -> None:
    listed = rows(
        [
            result(1, 0),
            result(1, 1),
            result(2, 1),
            result(2, 1, replicate=1, value=3.0),
            result(2, 1, TrialState.FAILED, replicate=2),
        ],
        "minimize",
        None,
    )
    assert [row.rank for row in listed] == [1, 2, 1, None, None]
    (pair,) = step_pairs(listed)
    assert pair.values == (1.0, 3.0)
    assert pair.value == 2.0
    assert account(listed, {2: 4})[0].states == {"complete": 2, "failed": 1, "not run": 1}


@pytest.mark.parametrize(
    ("params", "layers"),
    [
        ({"layers": 3, "units": [8, 8, 8]}, 3),
        ({"model.num_layers": 12}, 12),
        ({"units": [64, 32], "lr": 0.1}, 2),
        ({"layers": "two"}, None),
        ({"players": True}, None),
        ({}, None),
    ],
)
def test_depth_is_told_by_layers_or_by_a_list(params: dict[str, object], layers: int | None) -> None:
    assert depth(params) == layers


def test_cost_without_a_complete_candidate_has_no_estimate() -> None:
    found = cost([result(1, 0), result(2, 0, TrialState.FAILED)], {1: 0, 2: 0}, SEARCH)
    assert found.one_step_seconds is None
    assert found.share is None


@given(st.permutations(range(8)))
def test_kendall_agrees_with_its_definition(order: list[int]) -> None:
    pairs = [(float(i), float(x)) for i, x in enumerate(order)]
    concordant = sum((a < c) == (b < d) for i, (a, b) in enumerate(pairs) for c, d in pairs[i + 1 :])
    assert kendall_tau(pairs) == pytest.approx(2 * concordant / 28 - 1)


def test_two_candidates_have_no_rank_correlation() -> None:
    assert kendall_tau([(1.0, 2.0), (2.0, 1.0)]) is None
