"""A study's identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import StudyError
from ml_suite.study import planning
from ml_suite.study.contract import Rungs, StudyPlan
from tests.study.results import plan


def test_the_same_inputs_are_the_same_study() -> None:
    assert plan() == plan()
    assert plan().study == planning.identity(plan().model_dump(mode="json"))
    assert len(plan().study) == 16


@pytest.mark.parametrize("change", [{"trials": 9}, {"keep": 1}, {"shards": 5}])
def test_its_extent_is_not_its_identity(change: dict[str, int]) -> None:
    assert plan(**change).study == plan().study


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"subset": 0.2}, {"epochs": {"step1": 1, "step2": 3}}, {"overrides": {"a": 1}}]
)
def test_what_a_trial_does_is(change: dict[str, object]) -> None:
    assert plan(**change).study != plan().study


def test_the_place_of_the_data_is_not_its_identity_but_its_content_is() -> None:
    moved = plan().dataset.model_copy(update={"path": Path("/elsewhere")})
    other = plan().dataset.model_copy(update={"manifest": "x"})
    assert plan(dataset=moved).study == plan().study
    assert plan(dataset=other).study != plan().study


def test_changes_are_told_by_key() -> None:
    told = planning.changes(plan(), plan(seed=1, space={"x": {"float": [0.0, 2.0]}}))
    assert told == ["seed: 0 -> 1", "space.x.float: [0.0, 1.0] -> [0.0, 2.0]"]


def test_another_study_is_refused_only_when_something_is_finished() -> None:
    planning.require_same(plan(), plan(seed=1), 0, Path("/s"))
    planning.require_same(plan(), plan(trials=7), 4, Path("/s"))
    with pytest.raises(StudyError, match="seed: 0 -> 1"):
        planning.require_same(plan(), plan(seed=1), 4, Path("/s"))


def test_trials_grow_by_whole_cohorts_once_some_are_cut() -> None:
    rungs = Rungs(at=[1], keep=0.5, cohort=4)
    old = plan(trials=6, rungs=rungs)
    planning.require_same(old, plan(trials=10, rungs=rungs), 0, Path("/s"))
    planning.require_same(plan(trials=8, rungs=rungs), plan(trials=10, rungs=rungs), 3, Path("/s"))
    with pytest.raises(
        StudyError, match="from 6 to 10: the cohort of trials 4 to 5 is cut with other members"
    ):
        planning.require_same(old, plan(trials=10, rungs=rungs), 3, Path("/s"))
    with pytest.raises(StudyError, match="from 8 to 6"):
        planning.require_same(plan(trials=8, rungs=rungs), old, 3, Path("/s"))


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json")
    assert StudyPlan.load(tmp_path / "plan.json") == plan()
