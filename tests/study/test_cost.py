from __future__ import annotations

import doctest

import pytest

from ml_suite.study import chooser, cost, speed
from ml_suite.study.contract import Rungs, TrialState
from ml_suite.study.cost import Extent
from ml_suite.study.speed import Rate
from tests.study.results import plan, result

SAME = {"step1": 2, "step2": 2}


def test_examples_of_the_module_hold() -> None:
    assert doctest.testmod(cost).failed == 0


def test_the_papers_formula_is_the_quote_without_overhead() -> None:
    found = cost.quote(
        Extent(trials=10_000, subset=0.05, kept=50, epochs1=100, epochs2=100), Rate(0.0, 500.0)
    )
    assert found.share == pytest.approx(0.05 + 50 / 10_000)
    assert found.one_step_seconds == 10_000 * 500.0


def test_overhead_explains_what_the_smallest_subset_of_the_paper_cost() -> None:
    # 1509 GPU-hours for 10,000 full trainings, 4.0 GPU-seconds whatever the data: measured were 11.2 GPU-hours
    rate = Rate(overhead=4.0, full=1509 * 3600 / 10_000)
    found = cost.quote(Extent(trials=10_000, subset=0.00025, kept=0), rate)
    assert found.seconds / 3600 == pytest.approx(11.2, rel=0.03)


def test_epochs_of_step_2_and_trainings_of_finalists_count() -> None:
    extent = Extent(trials=100, subset=0.1, kept=5, again=5, epochs1=10, epochs2=20)
    lines = {line.part: line for line in cost.quote(extent, Rate(0.0, 10.0)).lines}
    assert lines["step1"].seconds == pytest.approx(100.0)
    assert lines["step2"].seconds == pytest.approx(10 * 20.0)
    assert lines["step2"].trainings == 10


def test_rungs_and_pilot_are_in_the_quote() -> None:
    pilot = cost.Line(part="pilot", trainings=10, seconds=50.0)
    plain = cost.quote(Extent(trials=64, subset=0.1, kept=2, epochs1=60, epochs2=60), Rate(1.0, 10.0))
    rungs = Rungs(at=[4, 8, 16], keep=0.5, cohort=16)
    saving = cost.quote(
        Extent(64, 0.1, 2, epochs1=60, epochs2=60, rungs=rungs), Rate(1.0, 10.0), [pilot], gpus=2
    )
    assert [line.part for line in saving.lines] == ["pilot", "step1", "step2"]
    assert saving.lines[1].seconds == pytest.approx(0.225 * plain.lines[0].seconds)
    assert saving.seconds == pytest.approx(sum(line.seconds for line in saving.lines))
    assert saving.lines[2].gpu_hours == pytest.approx(2 * saving.lines[2].seconds / 3600)


def test_what_depends_on_the_pilot_is_quoted_as_a_range() -> None:
    lines = [
        cost.Line(part="pilot", trainings=10, seconds=50.0),
        cost.Line(part="anchors", trainings=4, seconds=40.0, least=0.0),
    ]
    found = cost.quote(Extent(10, 0.1, 1), Rate(0.0, 10.0), lines)
    assert found.seconds == 50 + 40 + 10 + 10
    assert found.least_seconds == 50 + 10 + 10
    assert found.least_share == pytest.approx(0.7)
    plain = cost.quote(Extent(10, 0.1, 1), Rate(0.0, 10.0))
    assert (plain.least_seconds, plain.least_share) == (None, None)


def test_rungs_behind_the_last_epoch_cut_nothing() -> None:
    assert cost.epochs_left(Rungs(at=[10, 20], keep=0.5, cohort=4), 10) == 1.0


def test_overhead_is_found_from_two_sizes() -> None:
    found = speed.rate([0.05, 0.05, 0.1, 0.1], [1.5, 1.7, 2.5, 2.7])
    assert found is not None
    assert (found.overhead, found.full) == (pytest.approx(0.6), pytest.approx(20.0))


def test_overhead_is_never_negative() -> None:
    found = speed.rate([0.1, 0.2], [1.0, 4.0])
    assert found is not None
    assert found.overhead == 0.0
    assert found.full == pytest.approx(16.0, rel=0.3)


def test_one_size_says_nothing_about_overhead() -> None:
    assert speed.rate([0.1, 0.1], [1.0, 2.0]) is None


def test_the_usual_overhead_of_a_program_is_more_than_that_of_a_waiting_worker() -> None:
    assert speed.OVERHEAD["anemoi"] > speed.OVERHEAD["mlp"]


def test_everything_that_was_trained_is_in_the_account() -> None:
    first = [
        result(0, 0.1, seconds=2.0, cpu_seconds=1.8),
        result(1, state=TrialState.FAILED, seconds=1.0, cpu_seconds=1.0),
        result(2, 0.3, state=TrialState.PRUNED, seconds=1.0, cpu_seconds=1.0),
    ]
    second = [
        result(0, 0.05, 2, seconds=20.0, cpu_seconds=19.0),
        result(0, 0.06, 2, replicate=1, seconds=22.0),
    ]
    found = cost.account(plan(trials=3, epochs=SAME), first, second, gpus={"step2": 4})
    assert found.seconds == 46.0
    assert found.lines[0].cpu_hours == pytest.approx(3.8 / 3600)
    assert found.lines[1].cpu_hours is None
    assert found.lines[1].gpu_hours == pytest.approx(42.0 * 4 / 3600)
    assert found.one_step_seconds == pytest.approx(3 * 21.0)
    assert found.avoided_seconds == pytest.approx(63.0 - 46.0)
    assert found.share == pytest.approx(46 / 63)


def test_one_step_follows_the_size_of_all_trials_not_of_the_candidates() -> None:
    # the candidates are the large ones
    first = [result(i, 0.1, parameters=100 * (i + 1), seconds=1.0) for i in range(10)]
    second = [result(i, 0.1, 2, parameters=100 * (i + 1), seconds=5.0 + i + 1) for i in (7, 8, 9)]
    found = cost.account(plan(trials=10, epochs=SAME), first, second)
    assert found.one_step_seconds == pytest.approx(sum(5.0 + i + 1 for i in range(10)))
    assert "parameters" in found.method


def test_before_step_2_the_one_step_is_unknown() -> None:
    found = cost.account(plan(trials=2), [result(0, 0.1, seconds=1.0)], [])
    assert (found.one_step_seconds, found.share, found.avoided_seconds) == (None, None, None)
    assert found.seconds == 1.0


def test_one_step_has_the_epochs_of_step_2_before_and_after() -> None:
    second = [result(i, 0.1, 2, seconds=20.0) for i in range(3)]
    found = cost.account(plan(trials=100, epochs={"step1": 5, "step2": 10}), [], second)
    assert found.one_step_seconds == pytest.approx(100 * 20.0)
    extent = Extent(trials=100, subset=0.1, kept=3, epochs1=5, epochs2=10)
    quoted = cost.quote(extent, Rate(0.0, 10.0))
    assert quoted.one_step_seconds == pytest.approx(100 * 20.0)
    aim = chooser.Aim(100, 10, 0.1, 0.1, 0.9, first=0.1, epochs=10 / 5)
    assert chooser.one_step(aim, Rate(0.0, 10.0)) == quoted.one_step_seconds
    assert chooser.price(aim, Rate(0.0, 10.0), 0.0, 0.1, 3) == pytest.approx(quoted.share)


def test_each_part_of_a_pilot_counts_though_they_train_the_same_trials() -> None:
    pilot = {(0.1, i): [result(t, 0.1, seconds=1.0) for t in range(4)] for i in range(2)}
    pilot[0.2, 0] = [result(t, 0.1, seconds=2.0) for t in range(4)]
    found = cost.account(plan(), [result(0, 0.1, seconds=1.0)], [], pilot, gpus={"pilot": 1})
    assert [(line.part, line.trainings) for line in found.lines] == [
        ("pilot", 12),
        ("step1", 1),
        ("step2", 0),
    ]
    assert found.lines[0].seconds == 16.0
    assert found.lines[0].gpu_hours == pytest.approx(16 / 3600)
    assert found.seconds == 17.0


def test_what_searches_nothing_has_no_one_step() -> None:
    found = cost.account(None, [], [result(0, 0.1, 2, seconds=3.0)])
    assert (found.one_step_seconds, found.share) == (None, None)
