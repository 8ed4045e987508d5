"""Adaptive sampling in rounds: what is asked depends on nothing but the plan and earlier results."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.study import asking, distributions, space, trials
from ml_suite.study.contract import Rungs, SearchPlan, TrialResult, TrialState
from tests.study.results import plan, result

SPACE: dict[str, dict[str, Any]] = {
    "layers": {"int": [1, 4]},
    "units": {"choice": [8, 16, 32, 64], "per": "layers"},
    "lr": {"log": [1e-5, 1e-1]},
    "kind": {"choice": ["adam", "sgd"]},
    "momentum": {"float": [0.0, 0.9], "when": {"kind": "sgd"}},
}
CONSTRAINT = "units[0] >= units[-1]"


def search(sampler: str = "tpe", **changes: Any) -> SearchPlan:
    fields = {"space": SPACE, "constraints": [CONSTRAINT], "trials": 40, "rounds": 4, **changes}
    return plan(sampling=f"optuna:{sampler}", **fields)


def trained(of: SearchPlan, params: dict[int, dict[str, Any]]) -> list[TrialResult]:
    """Best near lr 1e-3 with few layers; one trial diverges and one fails."""
    found = []
    for trial, values in params.items():
        loss = abs(math.log10(values["lr"]) + 3) + 0.1 * values["layers"]
        state = {3: TrialState.DIVERGED, 5: TrialState.FAILED}.get(trial, TrialState.COMPLETE)
        value = loss if state is TrialState.COMPLETE else None
        found.append(result(trial, value, study=of.study, state=state, params=values))
    return found


def searched(of: SearchPlan, folder: Path) -> list[asking.Draws]:
    """Ask and train round after round."""
    results: list[TrialResult] = []
    number = 0
    while (draws := asking.settle(of, folder, number, results)) is not None:
        results += trained(of, draws.trials)
        number += 1
    return asking.known(folder, of)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_asks_for_every_trial_once(tmp_path: Path, sampler: str) -> None:
    of = search(sampler)
    rounds = searched(of, tmp_path)
    assert [list(draws.trials) for draws in rounds] == [list(range(r, r + 10)) for r in (0, 10, 20, 30)]
    assert [draws.seen for draws in rounds] == [0, 10, 20, 30]
    assert [path.name for path in sorted((tmp_path / "draws").iterdir())] == [f"00{i}.json" for i in range(4)]
    drawn = asking.parameters(rounds)
    ready = space.build(space.parse(SPACE), [CONSTRAINT])
    for trial in range(40):
        values = trials.parameters(of, trial, drawn)
        assert distributions.inside(ready, values), values
        assert float(f"{values['lr']:.6g}") == values["lr"]
    assert len({str(values) for values in drawn.values()}) == 40


def test_the_same_question_has_the_same_answer(tmp_path: Path) -> None:
    of = search()
    first, second = searched(of, tmp_path / "a"), searched(of, tmp_path / "b")
    assert first == second
    assert searched(search(seed=1), tmp_path / "c")[1].trials != first[1].trials


def test_the_order_of_the_results_does_not_matter(tmp_path: Path) -> None:
    of = search()
    first = asking.settle(of, tmp_path, 0, [])
    assert first is not None
    results = trained(of, first.trials)
    answers = [
        asking.settle(of, _copied(tmp_path, tmp_path / name), 1, told)
        for name, told in (("a", results), ("b", results[::-1]))
    ]
    assert answers[0] == answers[1]


def test_later_rounds_are_better_than_chance(tmp_path: Path) -> None:
    of = search(trials=80)
    rounds = searched(of, tmp_path)
    first, last = (
        sorted(abs(math.log10(values["lr"]) + 3) for values in draws.trials.values())[10]
        for draws in (rounds[0], rounds[-1])
    )
    assert last < first / 2


def test_what_was_written_counts_whatever_the_results_say(tmp_path: Path) -> None:
    of = search()
    first = asking.settle(of, tmp_path, 0, [])
    assert first is not None
    second = asking.settle(of, tmp_path, 1, trained(of, first.trials))
    assert second is not None
    other = [
        r.model_copy(update={"value": 1.0, "state": TrialState.COMPLETE}) for r in trained(of, first.trials)
    ]
    assert asking.settle(of, tmp_path, 1, other) == second
    assert asking.settle(of, tmp_path, 0, []) == first
    assert asking.known(tmp_path, of) == [first, second]


def test_a_round_waits_for_all_results_of_those_before(tmp_path: Path) -> None:
    of = search()
    first = asking.settle(of, tmp_path, 0, [])
    assert first is not None
    results = trained(of, first.trials)
    stopped = result(9, study=of.study, state=TrialState.PREEMPTED, params=first.trials[9])
    with pytest.raises(StudyError, match="1 trials of them have none: 9"):
        asking.settle(of, tmp_path, 1, [*results[:9], stopped])
    with pytest.raises(StudyError, match="round 2 comes after round 1, which is not drawn yet"):
        asking.settle(of, tmp_path, 2, results)
    with pytest.raises(StudyError, match="trial 12 is not drawn yet"):
        trials.parameters(of, 12, first.trials)
    assert len(asking.known(tmp_path, of)) == 1


def test_two_tasks_that_ask_at_once_get_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = search()
    link = os.link

    def late(source: Path, target: Path) -> None:
        """The other one was faster by a moment."""
        theirs = asking.Draws.load(source).model_copy(update={"software": "theirs"})
        theirs.save(tmp_path / "theirs")
        link(tmp_path / "theirs", target)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    mine = asking.settle(of, tmp_path, 0, [])
    assert mine is not None
    assert mine.software == "theirs"
    assert [path.name for path in (tmp_path / "draws").iterdir()] == ["000.json"]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    draws = asking.settle(search(), tmp_path, 0, [])
    assert asking.known(tmp_path, search()) == [draws]
    assert [path.name for path in (tmp_path / "draws").iterdir()] == ["000.json"]


def test_draws_of_another_study_are_refused(tmp_path: Path) -> None:
    asking.settle(search(), tmp_path, 0, [])
    with pytest.raises(StudyError, match="belongs to round 0 of study"):
        asking.settle(search(seed=1), tmp_path, 0, [])
    asking.file(tmp_path, 0).write_text("{")
    with pytest.raises(StudyError, match="cannot be read"):
        asking.known(tmp_path, search())


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [10, 10, 10, 10]),
        ({"trials": 41}, [11, 10, 10, 10]),
        ({"trials": 3}, [1, 1, 1]),
        ({"rungs": Rungs(at=[1], keep=0.5, cohort=8)}, [16, 8, 8, 8]),
        ({"trials": 20, "rungs": Rungs(at=[1], keep=0.5, cohort=16)}, [16, 4]),
    ],
)
def test_rounds_share_the_trials_and_never_cut_a_cohort(changes: dict[str, Any], sizes: list[int]) -> None:
    of = search(**changes)
    found: list[list[int]] = []
    while part := asking.batch(of, len(found), sum(map(len, found))):
        found.append(part)
    assert [len(part) for part in found] == sizes
    assert [trial for part in found for trial in part] == list(range(of.trials))


def test_a_study_that_is_made_longer_gets_one_more_round(tmp_path: Path) -> None:
    before = searched(search(trials=20, rounds=2), tmp_path)
    longer = search(trials=30, rounds=2)
    after = searched(longer, tmp_path)
    assert after[:2] == before
    assert list(after[2].trials) == list(range(20, 30))


def test_results_of_another_study_are_a_start_where_they_fit(tmp_path: Path) -> None:
    of = search("random")
    other = trained(of, searched(search("random", seed=3), tmp_path / "other")[0].trials)
    stray = [result(0, 0.1, params={"lr": 0.5}), result(1, 0.1, params={"depth": 3})]
    blank = asking.settle(of, tmp_path / "a", 0, [])
    started = asking.settle(of, tmp_path / "b", 0, [], start=[*other, *stray])
    assert blank is not None
    assert started is not None
    assert (blank.seen, started.seen) == (0, len(other))
    assert started.trials != blank.trials


def test_constraints_that_the_sampler_never_meets_are_met_at_random(tmp_path: Path) -> None:
    of = search(constraints=["lr < 0.000011"], trials=8, rounds=2)
    rounds = searched(of, tmp_path)
    assert all(values["lr"] < 0.000011 for values in asking.parameters(rounds).values())


def test_a_small_space_may_repeat_itself(tmp_path: Path) -> None:
    of = search("tpe", space={"x": {"choice": [1, 2]}}, constraints=[], trials=6, rounds=3)
    results: list[TrialResult] = []
    for number in range(3):
        draws = asking.settle(of, tmp_path, number, results)
        assert draws is not None
        results += [result(t, float(p["x"]), study=of.study, params=p) for t, p in draws.trials.items()]
    assert {r.params["x"] for r in results} == {1, 2}


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_sampler_whose_package_is_missing_says_which(tmp_path: Path, sampler: str, package: str) -> None:
    of = search(sampler, space={"lr": SPACE["lr"], "x": {"float": [0, 1]}}, constraints=[])
    first = asking.settle(of, tmp_path, 0, [])
    assert first is not None
    results = [result(t, p["lr"], study=of.study, params=p) for t, p in first.trials.items()]
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(StudyError, match=f"not installed: {package}"):
            asking.settle(of, tmp_path, 1, results)
    else:
        draws = asking.settle(of, tmp_path, 1, results)
        assert draws is not None
        assert len(draws.trials) == 10


@pytest.mark.parametrize(
    ("sampling", "message"), [("optuna:best", "no adaptive sampler best"), ("sobol", "asks nobody")]
)
def test_another_sampling_is_refused(tmp_path: Path, sampling: str, message: str) -> None:
    of = plan(sampling=sampling, trials=4)
    with pytest.raises(StudyError, match=message):
        asking.ask(of, 1, [2, 3], [result(0, 0.1), result(1, 0.2)])


def _copied(source: Path, target: Path) -> Path:
    (target / "draws").mkdir(parents=True)
    for path in (source / "draws").iterdir():
        (target / "draws" / path.name).write_bytes(path.read_bytes())
    return target
