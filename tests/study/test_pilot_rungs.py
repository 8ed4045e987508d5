"""Rungs followed in the histories of a pilot."""

from __future__ import annotations

import numpy as np
import pytest

from ml_suite.study import evidence, regret
from ml_suite.study.contract import Cuts, HistoryPoint, Rungs, TrialResult
from ml_suite.study.regret import Evidence, Search
from tests.study.results import result


def trained(trial: int, *values: float) -> TrialResult:
    history = [HistoryPoint(epoch=i, step=i + 1, value=v) for i, v in enumerate(values)]
    return result(trial, min(values), history=history, epochs=len(values))


def test_who_is_cut_is_ranked_behind_all_others_the_last_cut_first() -> None:
    results = [
        trained(0, 0.9, 0.8, 0.1),  # the best at its end, and cut first
        trained(1, 0.5, 0.4, 0.4),
        trained(2, 0.6, 0.5, 0.2),  # cut at the second rung
        trained(3, 0.8, 0.7, 0.3),
    ]
    rungs = Rungs(at=[1, 2], keep=0.5, cohort=4)
    sizes, _ = evidence.gather({(0.1, 0): results}, "minimize", (), rungs)
    assert sizes[0].ranking.tolist() == [[3.0, 0.0, 1.0, 2.0]]
    plain, _ = evidence.gather({(0.1, 0): results}, "minimize")
    assert np.argsort(plain[0].ranking[0]).tolist() == [0, 2, 3, 1]


def test_without_histories_the_ranking_is_that_of_the_values() -> None:
    results = [result(i, 1.0 + i) for i in range(3)]
    sizes, _ = evidence.gather({(0.1, 0): results}, "minimize", (), Rungs(at=[1], keep=0.5, cohort=2))
    assert sizes[0].order is None


def lag(noise: float) -> float:
    random = np.random.default_rng(0)
    last = np.exp(random.normal(size=400))
    early = 2 * last * np.exp(noise * random.normal(size=400))
    results = [
        trained(i, float(max(a, b)), float(b)) for i, (a, b) in enumerate(zip(early, last, strict=True))
    ]
    sizes, _ = evidence.gather({(1.0, 0): results}, "minimize", (), None, Cuts(at=[1], keep=0.5))
    (found,) = evidence.pilot_rungs.lag(sizes)
    return found


def test_how_far_a_rung_misleads_is_the_scatter_of_what_is_reached_by_then() -> None:
    assert lag(0.0) == pytest.approx(0.0, abs=1e-9)
    assert lag(0.2) == pytest.approx(0.2, rel=0.1)


def test_rungs_that_mislead_make_the_winner_worse() -> None:
    random = np.random.default_rng(1)
    losses = random.normal(size=30)
    known = Evidence(losses, losses, 0.01, 30)

    def lost(early: tuple[float, ...], keep: float = 0.25) -> float:
        blind = Evidence(known.scores, known.losses, known.noise, 30, early=early)
        return float(regret.predict([blind], Search(50, 20, keep=keep)).regret.mean())

    assert lost((0.01,)) == pytest.approx(lost(()), abs=0.02)
    assert lost((5.0,)) > lost((0.5,)) > lost(())
    assert lost((5.0,), keep=1.0) == lost(())
