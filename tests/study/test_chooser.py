from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_suite.study import chooser, evidence, speed
from ml_suite.study.chooser import Aim, Decision, Part
from ml_suite.study.contract import TrialResult
from ml_suite.study.speed import Rate
from tests.study.pilots import World

AIM = Aim(trials=400, configurations=24, budget=0.2, regret=0.15, confidence=0.9, first=0.025)

Parts = dict[tuple[float, int], list[TrialResult]]


def piloted(world: World, aim: Aim) -> tuple[Parts, Decision, list[Part]]:
    """Follow the rules to their end."""
    parts: Parts = {}
    asked: list[Part] = []
    while True:
        sizes, scale = evidence.gather(parts, "minimize")
        rate = Rate(world.overhead, world.full_seconds) if len({s for s, _ in parts}) > 1 else None
        spent = sum(r.seconds for results in parts.values() for r in results)
        found = chooser.after(sizes, aim, rate, spent, scale)
        if isinstance(found, Decision):
            return parts, found, asked
        assert (found.share, found.replicate) not in parts, "nothing is trained twice"
        asked.append(found)
        trials = found.trials or tuple(range(aim.configurations))
        parts[found.share, found.replicate] = world.train(found.share, trials, 100 + found.replicate)


def test_a_pilot_trains_twice_at_its_first_share_once_at_twice_that_and_some_on_everything() -> None:
    _, _, asked = piloted(World(trials=400), AIM)
    assert [(p.share, p.replicate) for p in asked[:4]] == [(0.025, 0), (0.025, 1), (0.05, 0), (1.0, 0)]
    assert asked[3].trials is not None
    assert 4 <= len(asked[3].trials) <= chooser.ANCHORS


def test_a_good_subset_is_found_and_the_search_is_within_the_budget() -> None:
    _, decision, _ = piloted(World(trials=400, bias=0.01, noise=0.01), AIM)
    assert decision.good
    assert decision.option is not None
    assert decision.option.cost <= AIM.budget
    assert decision.option.high <= AIM.regret
    assert decision.option.basis == "measured"


def test_where_no_search_is_good_enough_the_pilot_grows_within_its_budget() -> None:
    world = World(trials=400, bias=0.3, noise=0.2)
    parts, decision, _ = piloted(world, replace(AIM, regret=0.001))
    assert not decision.good
    assert max(share for share, _ in parts if share < 1) > 0.05
    spent = sum(r.seconds for results in parts.values() for r in results)
    assert spent <= AIM.budget * AIM.trials * (world.full_seconds + world.overhead)
    assert decision.option is not None
    assert decision.option.cost <= AIM.budget


def test_stated_choices_are_kept() -> None:
    parts, decision, _ = piloted(World(trials=400), replace(AIM, subset=0.05, kept=7))
    assert {share for share, _ in parts} == {0.05, 0.1, 1.0}
    assert decision.option is not None
    assert (decision.option.share, decision.option.kept) == (0.05, 7)


def test_a_budget_without_room_for_anything_buys_no_anchors() -> None:
    parts, decision, _ = piloted(World(trials=400), replace(AIM, budget=0.02))
    assert 1.0 not in {share for share, _ in parts}
    assert decision.option is not None
    assert decision.option.basis == "extrapolated"
    assert not decision.good


def test_too_few_configurations_decide_nothing() -> None:
    _, decision, _ = piloted(World(trials=400), replace(AIM, configurations=6))
    assert decision.option is None
    assert not decision.good


def test_anchors_are_the_best_and_some_of_all() -> None:
    sizes, _ = evidence.gather({(0.1, 0): World(bias=0.0, noise=0.0).train(0.1, range(30), 1)}, "minimize")
    chosen = evidence.anchors(sizes, 8)
    order = np.argsort(sizes[0].losses[0])
    places = sorted(int(np.where(order == t)[0][0]) for t in chosen)
    assert len(chosen) == 8
    assert (places[0], places[-1]) == (0, 29)
    assert sum(place < 15 for place in places) >= 5
    assert evidence.anchors(sizes, 100) == list(range(30))
    assert evidence.anchors(sizes, 0) == []


@pytest.mark.parametrize(
    ("samples", "batch", "share"),
    [(300_000, 1024, 0.01), (12_288, 128, 0.025), (500, 64, 0.4), (10**7, 32, 0.001)],
)
def test_a_pilot_begins_with_two_batches_at_least(samples: int, batch: int, share: float) -> None:
    assert chooser.first_share(samples, batch) == share


def test_the_correlation_with_everything_is_recovered() -> None:
    world = World(trials=300, bias=0.02, noise=0.02)
    parts = {
        (0.1, 0): world.train(0.1, range(300), 1),
        (0.1, 1): world.train(0.1, range(300), 2),
        (0.2, 0): world.train(0.2, range(300), 3),
        (0.2, 1): world.train(0.2, range(300), 4),
    }
    sizes, _ = evidence.gather(parts, "minimize")
    rho, low, high = chooser.correlations(sizes, 0.1, 0.9) or (0.0, 0.0, 0.0)
    true = np.corrcoef(sizes[0].losses[0], world.quality)[0, 1]
    assert rho == pytest.approx(true, abs=0.15)
    assert low < rho < high


def test_diverged_trainings_have_no_loss() -> None:
    results = World().train(0.1, range(10), 1)
    lost = results[3].model_copy(update={"value": float("nan")})
    sizes, scale = evidence.gather({(0.1, 0): [*results[:3], lost, *results[4:]]}, "minimize")
    assert scale.relative
    assert sizes[0].points == 9
    assert np.isnan(sizes[0].losses[0, 3])


def timed(shares: dict[float, int], seconds: dict[int, float]) -> Parts:
    """Trainings whose length beyond the overhead of 0.5 s follows the share, by trial."""
    made: Parts = {}
    for share, count in shares.items():
        results = World().train(share, range(count), 101)
        lengths = [0.5 + share * seconds[r.trial] for r in results]
        made[share, 0] = [
            r.model_copy(update={"seconds": s, "value": 1 / s}) for r, s in zip(results, lengths, strict=True)
        ]
    return made


def test_speed_follows_from_small_trainings_and_some_on_everything() -> None:
    seconds = {i: 10.0 + i for i in range(24)}
    found = speed.fitted(timed({0.05: 24, 0.1: 24, 1.0: 4}, seconds), "minimize")
    assert found is not None
    # the four on everything are the smallest networks
    assert found.full == pytest.approx(21.5, rel=0.05)
    assert found.overhead == pytest.approx(0.5, rel=0.1)
    assert found.dear > 1.2
    assert speed.fitted(timed({0.05: 24}, seconds), "minimize") is None


def test_epochs_of_the_trainings_on_everything_are_reduced_to_those_of_step_1() -> None:
    seconds = dict.fromkeys(range(24), 20.0)
    parts = timed({0.05: 24, 0.1: 24}, seconds) | {
        (1.0, 0): [r.model_copy(update={"seconds": 41.0}) for r in World().train(1.0, range(6), 1)]
    }
    found = speed.fitted(parts, "minimize", shorten=0.5)
    assert found is not None
    assert found.full == pytest.approx(20.0, rel=0.05)
