"""Who goes on after a rung."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.study.contract import HistoryPoint, Rungs, TrialState
from ml_suite.study.halving import Course, End, cut, decide, end_of, ends

RUNGS = Rungs(at=[2, 4], keep=0.5, cohort=4)


def course(*values: float | None, end: End = End.RUNNING) -> Course:
    return Course([HistoryPoint(epoch=i, step=i + 1, value=v) for i, v in enumerate(values)], end)


def test_all_train_to_the_first_rung() -> None:
    decision = decide({i: course() for i in range(4)}, RUNGS, "minimize")
    assert decision.train == {0: 2, 1: 2, 2: 2, 3: 2}
    assert not decision.pruned


def test_nobody_is_cut_before_the_slowest_has_come() -> None:
    decision = decide({0: course(9.0, 9.0), 1: course(1.0), 2: course()}, RUNGS, "minimize")
    assert decision.train == {1: 2, 2: 2}
    assert decision.wait == {0}


def test_the_best_half_by_their_best_so_far_goes_on() -> None:
    cohort = {0: course(0.1, 0.9), 1: course(0.5, 0.5), 2: course(0.3, 0.2), 3: course(0.4, 0.4)}
    decision = decide(cohort, RUNGS, "minimize")
    assert decision.pruned == {1: 2, 3: 2}
    assert decision.train == {0: 4, 2: 4}
    assert decide(cohort, RUNGS, "maximize").pruned == {2: 2, 3: 2}


def test_a_cut_looks_at_nothing_after_its_rung() -> None:
    early = {0: course(0.5, 0.5, 0.0), 1: course(0.4, 0.4)}
    assert decide(early, RUNGS, "minimize").pruned == {0: 2}


def test_one_that_stopped_early_takes_its_place_and_is_not_pruned() -> None:
    cohort = {
        0: course(0.1, end=End.ENDED),
        1: course(0.2, 0.2),
        2: course(0.3, 0.3),
        3: course(0.9, end=End.ENDED),
    }
    decision = decide(cohort, RUNGS, "minimize")
    assert decision.pruned == {2: 2}
    assert decision.train == {1: 4}


def test_lost_ones_are_not_counted() -> None:
    cohort = {i: course(i / 10, i / 10) for i in range(2)} | {i: course(None, end=End.LOST) for i in (2, 3)}
    assert decide(cohort, RUNGS, "minimize").train == {0: 4}


def test_without_rungs_everybody_trains_to_the_end() -> None:
    assert decide({7: course(), 8: course(1.0, end=End.ENDED)}, None, "minimize").train == {7: None}


@given(
    st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=40),
    st.floats(0.01, 1.0),
    st.sampled_from(["minimize", "maximize"]),
)
def test_a_cut_keeps_the_stated_share_and_nobody_worse_than_who_is_cut(
    values: list[float | None], keep: float, direction: str
) -> None:
    named = dict(enumerate(values))
    stay = cut(named, keep, direction)
    assert 1 <= len(stay) <= math.ceil(keep * len(values))
    sign = 1 if direction == "minimize" else -1
    rank = {t: math.inf if v is None else sign * v for t, v in named.items()}
    assert max(rank[t] for t in stay) <= min((rank[t] for t in named if t not in stay), default=math.inf)


def test_a_share_is_not_rounded_up_for_its_last_bit() -> None:
    assert len(cut({i: float(i) for i in range(30)}, 0.1, "minimize")) == 3


@given(st.data())
def test_what_is_recorded_of_a_cohort_gives_the_same_decision_again(data: st.DataObject) -> None:
    """Redo a cohort of which some trials are recorded: it ends as one that was never killed."""
    curves = data.draw(st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=2, max_size=6))
    final = _play({i: course() for i in range(len(curves))}, curves)
    kept = data.draw(st.sets(st.sampled_from(range(len(curves)))))
    again = {i: final[i] if i in kept else course() for i in range(len(curves))}
    assert _play(again, curves) == final


def _play(cohort: dict[int, Course], curves: list[list[float]]) -> dict[int, Course]:
    """Train as asked, until nothing is left to do."""
    while True:
        decision = decide(cohort, RUNGS, "minimize")
        for trial in decision.pruned:
            cohort[trial] = Course(cohort[trial].history, End.ENDED)
        if not decision.train:
            return cohort
        for trial, until in decision.train.items():
            trained = course(*curves[trial][:until])
            cohort[trial] = Course(trained.history, End.RUNNING if until else End.ENDED)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (TrialState.COMPLETE, End.ENDED),
        (TrialState.PRUNED, End.ENDED),
        (TrialState.DIVERGED, End.LOST),
        (TrialState.FAILED, End.LOST),
        (TrialState.PREEMPTED, End.RUNNING),
    ],
)
def test_states(state: TrialState, end: End) -> None:
    assert end_of(state) is end


def test_where_trainings_would_have_been_cut_that_went_on_to_their_end() -> None:
    whole = {
        0: course(0.4, 0.4, 0.4, 0.4, 0.0),
        1: course(0.3, 0.3, 0.3, 0.3, 0.3),
        2: course(0.2, 0.2, 0.1, 0.1, 0.1),
        3: course(0.5, 0.5),
        4: course(0.0, end=End.LOST),
    }
    assert ends(whole, RUNGS, "minimize") == {0: 2, 1: 4}
