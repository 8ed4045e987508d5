"""Candidates that the budget pays after step 1."""

from __future__ import annotations

from dataclasses import replace

from ml_suite.study import payable, speed
from ml_suite.study.chooser import Aim
from ml_suite.study.contract import Cuts, TrialResult, TrialState
from ml_suite.study.payable import Spent
from ml_suite.study.speed import Parts, Rate
from tests.study.results import result

AIM = Aim(trials=100, configurations=24, budget=0.2, regret=0.1, confidence=0.9, first=0.05, epochs=1.0)
RATE = Rate(overhead=0.0, full=1.0)


def first(dear: float = 1.0, epochs: int = 10) -> list[TrialResult]:
    """Step 1 on 5 % of the data: the ten best cost DEAR, the others that much less that the mean is 1."""
    costs = [dear if i < 10 else (100 - 10 * dear) / 90 for i in range(100)]
    return [result(i, float(i), seconds=0.05 * c, epochs=epochs) for i, c in enumerate(costs)]


def kept(
    results: list[TrialResult],
    aim: Aim = AIM,
    planned: int = 5,
    good: bool = False,
    parts: Parts | None = None,
) -> int:
    spent = Spent(parts or {(0.05, 0): [result(0, 0.0, seconds=3.0)]}, 0.05, results, speed.wall)
    return payable.kept(aim, RATE, spent, planned, good, "minimize")


def test_what_pilot_and_step_1_leave_of_the_budget_is_used() -> None:
    # 0.94 * 20 - 3 - 5 = 10.8 trainings
    assert kept(first()) == 10
    assert kept(first(), replace(AIM, extra=4)) == 6


def test_dear_candidates_are_fewer_than_the_average_trial_makes_believe() -> None:
    assert kept(first(dear=3.0)) == 3


def test_cut_candidates_are_more() -> None:
    cut = replace(AIM, cuts=Cuts(at=[5, 10], keep=0.5), length=20)
    assert kept(first(), cut) == 20


def test_a_search_that_is_good_enough_is_not_made_dearer_but_cheaper_where_it_costs_too_much() -> None:
    assert kept(first(), good=True) == 5
    assert kept(first(), planned=30, good=True) == 10


def test_one_is_kept_whatever_it_costs_and_what_is_planned_where_step_1_tells_nothing() -> None:
    assert kept(first(), replace(AIM, budget=0.01)) == 1
    assert kept([], planned=7) == 7


def test_trials_that_were_cut_count_with_all_their_epochs() -> None:
    cut = [
        r
        if r.trial < 20
        else r.model_copy(update={"state": TrialState.PRUNED, "epochs": 2, "seconds": r.seconds / 5})
        for r in first()
    ]
    # 0.94 * 20 - 3 - 1 - 0.8, just below 14
    assert kept(cut) == 13


def test_anchors_tell_what_a_trial_costs_on_everything() -> None:
    """In the small they cost 0.04 and up, and on everything 1 for each 0.01 beyond that."""
    anchors = [result(i, 0.0, seconds=0.04 + 0.01 * i) for i in range(4)]
    full = [result(i, 0.0, seconds=float(i)) for i in range(4)]
    parts = {(0.05, 0): anchors, (1.0, 0): full}
    # one step costs 100, the pilot 6.22, step 1 5.0; of 2.0 each
    assert kept(first(), parts=parts) == 7
    assert (
        kept(
            [r.model_copy(update={"seconds": 0.06 if r.trial < 10 else 0.0489}) for r in first()], parts=parts
        )
        == 3
    )
