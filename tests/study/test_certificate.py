from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.study import certificate, chooser, evidence, judgement, regret, verdicts
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Choice, Selection, TrialResult, TrialState
from ml_suite.study.losses import Scale
from tests.study.pilots import World
from tests.study.results import plan, result

Parts = dict[tuple[float, int], list[TrialResult]]


def pilot(world: World, share: float = 0.05, count: int = 32, anchors: int = 10) -> Parts:
    parts = {
        (share, 0): world.train(share, range(count), 101),
        (share, 1): world.train(share, range(count), 102),
        (2 * share, 0): world.train(2 * share, range(count), 103),
    }
    return parts | ({(1.0, 0): world.train(1.0, tuple(range(anchors)), 104)} if anchors else {})


def steps(world: World, share: float, kept: int) -> tuple[list[TrialResult], list[TrialResult], Selection]:
    first = world.train(share, range(world.trials), 0)
    best = sorted(first, key=lambda r: r.value or 0.0)[:kept]
    second = world.train(1.0, tuple(r.trial for r in best), 0, step=2)
    won = min(second, key=lambda r: r.value or 0.0)
    named = Selection(
        study="s", trial=won.trial, step=2, params={}, value=won.value or 0.0, step1_value=None, result=won
    )
    return first, second, named


GOOD = World(trials=200, bias=0.005, noise=0.01)


def test_a_good_subset_is_certified_in_a_sentence() -> None:
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), pilot(GOOD), accepted=0.2)
    assert made.verdict == "enough"
    assert re.fullmatch(
        r"5 % is enough: keeping 20 of 200 loses at most \d+(\.\d)? % with 90 % confidence\.", made.sentence
    )
    assert made.regret is not None
    assert made.regret.low <= made.regret.median <= made.regret.high <= 0.2
    assert made.basis == "measured"
    assert made.replicate is not None
    assert made.replicate.tau > 0.8
    assert made.ceiling_subset == 0.05
    assert made.best_kept is not None
    assert made.best_kept > 0.9
    assert made.rank_high is not None
    assert made.rank_high <= 5
    assert [p.kept for p in made.promises] == [5, 10, 20, 40, 80]
    assert made.promises[-1].high <= made.promises[0].high


def test_a_poor_subset_is_refused_with_what_would_do() -> None:
    world = World(trials=200, bias=0.25, noise=0.15)
    made = certificate.certify(plan(trials=200, keep=2, subset=0.05), pilot(world), accepted=0.05)
    assert made.verdict == "too small"
    assert made.sentence.startswith("5 % is too small: keeping 2 of 200 may lose up to ")
    assert "use 10 %" in made.sentence
    assert "5 % that is accepted" in made.sentence


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, "no pilot was trained at 5 %"),
        (pilot(GOOD, count=6, anchors=4), "6 configurations of the pilot have a value at 5 %, 8 are needed"),
        (
            {k: v for k, v in pilot(GOOD, anchors=0).items() if k[0] == 0.05},
            "compares 5 % with no larger size",
        ),
    ],
)
def test_too_little_is_not_judged(parts: Parts, words: str) -> None:
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), parts)
    assert made.verdict == "not judged"
    assert made.sentence.startswith("There is not enough to judge by: ")
    assert words in made.sentence
    assert made.regret is None
    assert made.promises == []


def test_without_a_training_on_everything_the_certificate_says_so() -> None:
    made = certificate.certify(plan(trials=200, keep=40, subset=0.05), pilot(GOOD, anchors=0), accepted=5.0)
    assert made.basis == "extrapolated"
    assert made.sentence.endswith("; no training on everything backs this yet.")
    assert any("extrapolated" in words for words in made.warnings)


def test_a_subset_that_agrees_with_itself_alone_is_told() -> None:
    world = World(trials=200, bias=0.4, noise=0.001)
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), pilot(world, anchors=30))
    assert any("prefers other configurations" in words for words in made.warnings)


def test_after_step_2_the_winner_is_judged() -> None:
    first, second, named = steps(GOOD, 0.05, 20)
    made = certificate.certify(
        plan(trials=200, keep=20, subset=0.05), pilot(GOOD), first, second, named, accepted=0.2
    )
    assert made.realised is not None
    assert made.realised.winner == named.trial
    assert made.realised.trained == 20
    assert GOOD.regret(named.trial) <= made.realised.high
    assert made.realised.best_kept > 0.5
    assert f"After step 2: trial {named.trial} is within " in made.sentence


def again(world: World, trials: list[int], replicates: int) -> list[TrialResult]:
    """Further trainings of finalists with other seeds."""
    return [
        r.model_copy(update={"replicate": i})
        for i in range(1, replicates)
        for r in world.train(1.0, tuple(trials), 300 + i, step=2)
    ]


def test_step_2_is_judged_without_a_pilot_where_finalists_tell_the_noise() -> None:
    first, second, named = steps(GOOD, 0.05, 20)
    final = again(GOOD, [named.trial, second[1].trial], 3)
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), {}, first, [*second, *final], named)
    assert made.verdict == "not judged"
    assert made.realised is not None
    assert made.unjudged == ""
    assert f"After step 2: trial {named.trial} is within " in made.sentence


def test_the_luck_of_a_seed_has_to_be_known_to_judge_a_winner() -> None:
    first, second, named = steps(GOOD, 0.05, 20)
    for trained in (second, [*second, *again(GOOD, [named.trial], 2)]):
        made = certificate.certify(plan(trials=200, keep=20, subset=0.05), {}, first, trained, named)
        assert made.realised is None
        assert "`finalists` and `replicates`" in made.unjudged
        assert "or a `pilot`" in made.unjudged
        assert made.sentence.endswith(
            f"After step 2: trial {named.trial} won; how near it is to the best of all 200 is not judged: "
            f"{made.unjudged}."
        )
    judged = certificate.certify(plan(trials=200, keep=20, subset=0.05), pilot(GOOD), first, second, named)
    assert judged.realised is not None


def test_a_handful_of_trainings_judges_no_winner() -> None:
    first, second, named = steps(GOOD, 0.05, 6)
    final = again(GOOD, [named.trial, second[1].trial], 3)
    search = plan(trials=200, keep=6, subset=0.05)
    made = certificate.certify(search, {}, first, [*second, *final], named)
    assert made.realised is None
    assert made.unjudged.startswith("6 trials were trained on the subset and on everything, 8 are needed")
    # trainings of a pilot on everything are pairs too
    assert certificate.certify(search, pilot(GOOD), first, [*second, *final], named).realised is not None


def test_before_there_is_a_winner_nothing_is_missing() -> None:
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), pilot(GOOD))
    assert made.realised is None
    assert made.unjudged == ""
    assert "After step 2" not in made.sentence


def told(high: float, accepted: float = 0.1, relative: bool = True) -> verdicts.Told:
    return verdicts.Told(
        subset=0.05,
        search=regret.Search(200, 20),
        scale=Scale(maximise=False, relative=relative),
        metric="m",
        accepted=accepted,
        confidence=0.9,
        basis="measured",
        high=high,
        judged=None,
    )


@pytest.mark.parametrize(
    ("high", "accepted", "words"),
    [
        (0.044, 0.1, "loses at most 4.4 % with"),
        (0.0421, 0.1, "loses at most 4.3 % with"),
        (0.04, 0.1, "loses at most 4 % with"),
        (0.1, 0.1, "loses at most 10 % with"),
        (0.234, 0.3, "loses at most 24 % with"),
        (12.344, 0.1, "may lose up to 1,235 % (90"),
        (0.0, 0.1, "loses at most 0.1 % with"),
        (0.1002, 0.1, "may lose up to 10.1 % (90 % confidence), more than the 10 % that"),
        (0.3334, 0.333, "may lose up to 34 % (90 % confidence), more than the 33.3 % that"),
        (0.12383, 0.1236, "may lose up to 12.4 % (90 % confidence), more than the 12.36 % that"),
    ],
)
def test_figures_of_a_sentence_never_contradict_it(high: float, accepted: float, words: str) -> None:
    sizes, _ = evidence.gather(pilot(GOOD), "minimize")
    known, _ = evidence.evidence(sizes, 0.05)
    assert words in verdicts.sentence(told(high, accepted), sizes, known)


def test_a_regret_above_its_interval_is_told_in_as_many_digits_as_it_takes() -> None:
    found = judgement.Realised(
        winner=1,
        trained=9,
        agreement=None,
        expected=0.1,
        median=0.10002,
        high=0.2,
        best_kept=0.5,
        rank_median=1,
        rank_high=2,
    )
    (said,) = verdicts.warnings(replace(told(0.10001), judged=found), [])
    assert "after step 2 (10.002 %) is above the predicted interval (10.001 %)" in said


def test_figures_in_units_of_the_metric_never_contradict_a_sentence() -> None:
    sizes, _ = evidence.gather(pilot(GOOD), "minimize")
    known, _ = evidence.evidence(sizes, 0.05)
    said = verdicts.sentence(told(0.10001, relative=False), sizes, known)
    assert "may lose up to 0.101 of m (90 % confidence), more than the 0.1 of m that" in said


def test_trials_that_rungs_ended_are_behind_those_that_went_on() -> None:
    first, second, named = steps(GOOD, 0.05, 20)
    chosen = {r.trial for r in second}
    cut = [
        r if r.trial in chosen else r.model_copy(update={"state": TrialState.PRUNED, "value": 1e-9})
        for r in first
    ]
    made = certificate.certify(plan(trials=200, keep=20, subset=0.05), pilot(GOOD), cut, second, named)
    assert made.realised is not None
    assert made.realised.best_kept > 0.5


def test_predicted_intervals_cover_simulated_truths() -> None:
    covered, cases = 0, 12
    for seed in range(cases):
        world = World(trials=150, bias=0.03 + 0.02 * (seed % 4), noise=0.03, seed=seed)
        _, _, named = steps(world, 0.05, 10)
        sizes, scale = evidence.gather(pilot(world, count=24), "minimize")
        known, _ = evidence.evidence(sizes, 0.05)
        found = regret.predict(known, regret.Search(150, 10), draws=200)
        covered += world.regret(named.trial) <= chooser.high(found, scale, 0.9)
    assert covered >= 0.9 * cases


def test_a_metric_to_be_maximised_is_certified_alike() -> None:
    turned = {
        key: [r.model_copy(update={"value": 1 / (r.value or 1.0)}) for r in results]
        for key, results in pilot(GOOD).items()
    }
    made = certificate.certify(
        plan(trials=200, keep=20, subset=0.05, direction="maximize"), turned, accepted=0.2
    )
    assert made.verdict == "enough"
    assert made.relative
    assert made.panels[0].first[0] == pytest.approx(turned[0.05, 0][0].value)


def test_pilots_that_fail_altogether_are_not_judged() -> None:
    lost = {
        (0.05, 0): [result(i, state=TrialState.FAILED) for i in range(20)],
        (0.05, 1): [result(i, state=TrialState.FAILED) for i in range(20)],
    }
    assert certificate.certify(plan(trials=200, keep=20, subset=0.05), lost).verdict == "not judged"


def test_the_certificate_is_the_same_every_time_and_a_file(tmp_path: Path) -> None:
    search = plan(trials=200, keep=20, subset=0.05, choice=Choice(finalists=3, replicates=2))
    made = certificate.certify(search, pilot(GOOD))
    assert certificate.certify(search, pilot(GOOD)) == made
    made.save(tmp_path / "certificate.json")
    assert Certificate.load(tmp_path / "certificate.json") == made
