from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.study import losses, regret
from ml_suite.study.losses import Scale
from ml_suite.study.regret import Evidence, Search


def evidence(
    count: int = 40, worth: float = 0.8, noise: float = 0.05, seed: int = 0, **changes: object
) -> Evidence:
    """Trials whose log losses follow their scores as far as they are worth it."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal(count)
    true = 0.3 * (worth * scores + np.sqrt(1 - worth**2) * random.standard_normal(count))
    fields = {
        "scores": scores,
        "losses": true + noise * random.standard_normal(count),
        "noise": noise,
        "distinct": count,
    }
    return Evidence(**{**fields, **changes})  # type: ignore[arg-type]


def simulated_truth(search: Search, worth: float, noise: float, seed: int) -> float:
    """Regret of one search, as the world of `evidence` has it."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal(search.trials)
    true = 0.3 * (worth * scores + np.sqrt(1 - worth**2) * random.standard_normal(search.trials))
    kept = np.argsort(scores)[: search.kept]
    winner = kept[np.argmin(true[kept] + noise * random.standard_normal(search.kept))]
    return float(true[winner] - true.min())


@pytest.mark.parametrize("worth", [0.3, 0.8])
def test_the_interval_covers_what_happens(worth: float) -> None:
    search, covered, cases = Search(200, 8), 0, 60
    for seed in range(cases):
        found = regret.predict([evidence(16, worth, seed=seed)], search, draws=100, seed=seed)
        covered += simulated_truth(search, worth, 0.05, 1000 + seed) <= np.quantile(found.regret, 0.95)
    assert covered >= 0.8 * cases


def test_keeping_more_loses_less() -> None:
    known = [evidence(60, 0.5)]
    few, many = (regret.predict(known, Search(500, kept)).regret.mean() for kept in (2, 60))
    assert many < 0.7 * few


def test_a_ranking_that_is_worth_more_loses_less() -> None:
    poor, good = (
        regret.predict([evidence(60, worth)], Search(300, 8)).regret.mean() for worth in (0.1, 0.95)
    )
    assert good < 0.5 * poor


def test_noise_makes_a_winner_worse_and_replicates_better() -> None:
    known = evidence(60, 0.6, noise=0.0, seed=3)
    noisy = Evidence(known.scores, known.losses, 0.3, 60)
    single = regret.predict([noisy], Search(100, 20), draws=1500).regret.mean()
    again = regret.predict([noisy], Search(100, 20, finalists=5, replicates=8), draws=1500).regret.mean()
    quiet = regret.predict([known], Search(100, 20), draws=1500).regret.mean()
    assert quiet < again < single


def test_all_kept_and_no_noise_is_no_regret() -> None:
    found = regret.predict([evidence(20, noise=0.0)], Search(50, 50))
    assert found.regret.max() == 0.0
    assert found.kept.all()
    assert (found.rank == 1).all()


def test_a_weak_transfer_costs() -> None:
    known = evidence(60, 0.9)
    weak = Evidence(known.scores, known.losses, known.noise, 60, transfer=np.array([0.2]))
    search = Search(200, 5)
    assert regret.predict([weak], search).regret.mean() > 1.5 * regret.predict([known], search).regret.mean()


def test_evidence_has_draws_by_its_weight() -> None:
    # one kind says that nothing matters, the other that everything does
    flat = Evidence(np.linspace(-2, 2, 20), np.zeros(20), 0.0, 20, weight=3.0)
    steep = evidence(20, 0.1, seed=1)
    both = regret.predict([flat, steep], Search(100, 2), draws=400)
    assert (both.regret < 1e-6).mean() == pytest.approx(0.75, abs=0.03)


def test_too_few_trainings_on_everything_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        regret.predict([evidence(3)], Search(10, 2))
    with pytest.raises(ValueError, match="0 of 10"):
        regret.predict([evidence()], Search(10, 0))


def test_a_winner_far_ahead_is_judged_better_than_one_among_equals() -> None:
    known = evidence(20, 0.4)
    others = np.linspace(-1.0, 2.5, 80)
    trained = np.sort(known.losses)[:5]
    ahead = trained.copy()
    ahead[0] -= 1.0
    runs = np.ones(5)
    sure = regret.judge(known, ahead, runs, 0, others)
    close = regret.judge(known, trained, runs, 0, others)
    assert np.quantile(sure.regret, 0.9) < np.quantile(close.regret, 0.9)
    assert sure.kept.mean() > 0.95


def test_more_trainings_of_the_candidates_make_the_judgement_surer() -> None:
    known = evidence(20, 0.9, noise=0.2)
    trained, others = np.array([-1.0, -0.95, -0.9]), np.full(1, 2.0)
    once, often = (
        np.quantile(regret.judge(known, trained, np.full(3, n), 0, others).regret, 0.9) for n in (1, 16)
    )
    assert often < 0.6 * once


@pytest.mark.parametrize(
    ("direction", "values", "regrets"),
    [
        ("minimize", [1.0, 1.1], 0.1),
        ("maximize", [1.0, 0.9], 0.1),
    ],
)
def test_a_relative_regret_is_a_part_of_the_best(direction: str, values: list[float], regrets: float) -> None:
    scale = Scale.of(direction, values)
    best, other = scale.losses(values)
    assert scale.relative
    assert scale.regret(other - best) == pytest.approx(regrets)
    assert scale.values([best, other]) == pytest.approx(values)


def test_a_metric_that_can_be_negative_has_regrets_in_its_own_units() -> None:
    scale = Scale.of("minimize", [-3.0, 1.0])
    assert not scale.relative
    assert scale.regret(np.diff(scale.losses([-3.0, 1.0])))[0] == 4.0


def test_missing_values_have_no_loss() -> None:
    assert np.isnan(Scale(False, True).losses([None, float("nan"), float("inf"), 0.0])).all()


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30, unique=True))
def test_normal_scores_keep_the_order(values: list[float]) -> None:
    scores = losses.normal_scores(values)
    assert np.isfinite(scores).all()
    assert (np.argsort(scores) == np.argsort(values)).all()
    assert scores.sum() == pytest.approx(0.0, abs=1e-6)


def test_noise_is_that_of_the_better_half() -> None:
    random = np.random.default_rng(0)
    good = np.linspace(0, 0.1, 200) + 0.05 * random.standard_normal((2, 200))
    bad = 50 + 3 * random.standard_normal((2, 200))
    assert losses.spread(np.hstack([good, bad])) == pytest.approx(0.05, rel=0.15)
    assert np.isnan(losses.spread(np.zeros((1, 5))))
