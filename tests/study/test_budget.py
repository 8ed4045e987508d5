"""What pilot and search cost against what they may."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

from ml_suite.errors import StudyError
from ml_suite.study import budget, piloting, speed, verdicts
from ml_suite.study.chooser import Aim, Part
from ml_suite.study.contract import TrialResult
from ml_suite.study.cost import Cost
from ml_suite.study.piloting import Outcome
from ml_suite.study.speed import Rate
from tests.study.pilots import World
from tests.study.results import plan

AIM = Aim(trials=400, configurations=24, budget=0.2, regret=0.15, confidence=0.9, first=0.025)


def piloted(aim: Aim, world: World | None = None) -> Outcome:
    there = world or World(trials=aim.trials)

    def train(part: Part) -> list[TrialResult]:
        chosen = part.trials or tuple(range(aim.configurations))
        return there.train(part.share, chosen, 100 + part.replicate)

    return piloting.run(
        plan(trials=aim.trials, keep=4, subset=0.05, epochs={"step1": 2, "step2": 2}), aim, train
    )


def test_examples_of_the_words_hold() -> None:
    assert doctest.testmod(verdicts).failed == 0


def test_the_least_cost_is_that_of_pilot_step_1_and_one_candidate() -> None:
    rate = Rate(overhead=0.01, full=1.0)
    pilot = 24 * (2 * 0.035 + 0.06)
    assert budget.pilot(AIM, rate) == pytest.approx(pilot)
    assert budget.least(AIM, rate) == pytest.approx((pilot + 400 * 0.035 + 1.01) / (400 * 1.01))
    assert budget.least(replace(AIM, kept=9, extra=3), rate) == pytest.approx(
        (pilot + 400 * 0.035 + 12 * 1.01) / (400 * 1.01)
    )
    # there is no twice of more than half of the data
    assert budget.pilot(replace(AIM, subset=0.6), rate) == pytest.approx(24 * 2 * 0.61)


def test_where_all_is_auto_a_budget_that_nothing_is_within_is_refused_with_the_least_that_would_do() -> None:
    tight = replace(AIM, budget=0.03)
    with pytest.raises(StudyError, match=r"hpo\.pilot\.budget is 3 %") as caught:
        piloted(tight)
    assert caught.value.hint is not None
    stated = float(caught.value.hint.split("budget: ")[1].split("%")[0]) / 100
    assert 0.03 < stated < 0.1
    found = piloted(replace(AIM, budget=stated))
    assert found.decision.option is not None
    assert found.decision.option.cost <= stated
    assert piloting.excess(replace(AIM, budget=stated), found) == []


def test_a_search_that_is_cheaper_in_one_step_gets_no_budget_named() -> None:
    with pytest.raises(StudyError, match="cost 123 % of training every trial on everything") as caught:
        budget.require(AIM, 1.221)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("No budget would do.")


def test_a_stated_search_beyond_the_budget_is_told_and_made() -> None:
    aim = replace(AIM, subset=0.05, kept=40, budget=0.1)
    found = piloted(aim)
    (told,) = piloting.excess(aim, found)
    assert told.startswith("pilot and search will cost ")
    assert (
        "of training every trial on everything, more than the budget of 10 %, the pilot alone 1.37 %" in told
    )
    assert piloting.words(aim, found).endswith(told)
    assert piloting.excess(replace(aim, budget=0.9), found) == []


def test_before_anything_is_trained_only_a_budget_that_is_far_too_small_is_refused() -> None:
    rate = Rate(overhead=0.01, full=1.0, measured=False)
    cost = budget.least(AIM, rate)
    budget.require_hope(replace(AIM, budget=0.8 * cost), rate)
    budget.require_hope(replace(AIM, budget=0.1 * cost, kept=3), rate)
    budget.require_hope(replace(AIM, budget=0.1 * cost), None)
    with pytest.raises(StudyError, match="pilot and cheapest search cost about ") as caught:
        budget.require_hope(replace(AIM, budget=0.6 * cost), rate)
    assert "hpo.pilot" in (caught.value.hint or "")


def test_what_was_overspent_is_told_with_figures_that_differ() -> None:
    spent = Cost(
        lines=[], seconds=1.0, one_step_seconds=9.0, share=0.10004, avoided_seconds=8.0, method="told"
    )
    (told,) = budget.overspent(0.1, spent)
    assert told == (
        "pilot and search have cost 10.1 % of training every trial on everything, more than the budget of 10 %"
    )
    assert budget.overspent(0.2, spent) == []
    assert budget.overspent(0.1, spent.model_copy(update={"share": None})) == []


def test_what_a_pilot_has_spent_is_counted_by_its_share() -> None:
    parts = {(0.5, 0): World().train(0.5, range(3), 1), (1.0, 0): World().train(1.0, range(2), 1)}
    assert piloting.spent(parts, speed.wall) == pytest.approx(3 * 0.51 + 2 * 1.01)
    assert piloting.spent(parts, lambda share, result: share) == pytest.approx(3.5)
