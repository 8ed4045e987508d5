"""Ranking, candidates and the winner."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialState
from ml_suite.study.two_step import account, rank, select, shortlist
from tests.study.results import plan, result


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.sampled_from(["minimize", "maximize"]))
def test_ranking_is_an_order_of_all_complete_trials(values: list[float], direction: str) -> None:
    ranked = rank([result(i, v) for i, v in enumerate(values)], direction)
    told = [r.value for r in ranked]
    assert told == sorted(values, reverse=direction == "maximize")
    assert sorted(r.trial for r in ranked) == list(range(len(values)))


def test_only_finite_values_of_complete_trials_count() -> None:
    ranked = rank(
        [
            result(0, math.nan),
            result(1, 0.2, state=TrialState.PRUNED),
            result(2, -math.inf),
            result(3, 0.3),
            result(4, None, state=TrialState.COMPLETE),
        ],
        "minimize",
    )
    assert [r.trial for r in ranked] == [3]


def test_equal_values_are_ordered_by_number() -> None:
    assert [r.trial for r in rank([result(2, 1.0), result(0, 1.0), result(1, 1.0)], "maximize")] == [0, 1, 2]


def test_states_add_up() -> None:
    results = [result(0, 1.0), result(1), result(2, state=TrialState.DIVERGED), result(3, 0.5)]
    chosen = shortlist(plan(), results)
    assert chosen.states == {TrialState.COMPLETE: 2, TrialState.DIVERGED: 1, TrialState.FAILED: 1}
    assert sum(account(results).values()) == 4
    assert [(c.rank, c.trial) for c in chosen.candidates] == [(1, 3), (2, 0)]


def test_the_same_hyperparameters_are_trained_once() -> None:
    results = [result(i, i / 10, params={"x": min(i, 1)}) for i in range(4)]
    assert [c.trial for c in shortlist(plan(keep=3), results).candidates] == [0, 1]


@pytest.mark.parametrize(
    ("results", "keep", "message"),
    [
        ([], 2, "4 of 4 trials have no result: 0, 1, 2, 3"),
        ([result(i, 1.0) for i in range(3)], 2, "1 of 4 trials have no result: 3"),
        ([result(i, reason="no such key") for i in range(4)], 2, "4 failed; the first says: no such key"),
        ([result(i, 1.0) for i in range(4)], 0, "keep rounds to no candidate"),
    ],
)
def test_a_study_without_a_result_is_an_error(results: list, keep: int, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        shortlist(plan(keep=keep), results)


def test_trials_without_a_result_name_their_shards() -> None:
    with pytest.raises(StudyError) as caught:
        shortlist(plan(trials=6, shards=3), [result(0, 1.0), result(1, 1.0), result(2, 1.0), result(5, 1.0)])
    assert "shards again: 0, 1" in (caught.value.hint or "")


def test_the_winner_is_the_best_of_step_2_not_of_step_1() -> None:
    chosen = shortlist(plan(), [result(i, i / 10) for i in range(4)])
    winner = select(plan(), chosen, [result(0, 0.9, step=2), result(1, 0.2, step=2)])
    assert (winner.trial, winner.value, winner.step1_value) == (1, 0.2, 0.1)


def test_a_candidate_without_a_result_is_not_passed_over() -> None:
    chosen = shortlist(plan(), [result(i, i / 10) for i in range(4)])
    with pytest.raises(StudyError, match="1 of 2 candidates have no result: rank 2"):
        select(plan(), chosen, [result(0, 0.9, step=2)])
