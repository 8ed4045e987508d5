"""How many candidates there are is decided again after step 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.search import decide, effort, freeze
from ml_suite.search.freeze import Frozen
from ml_suite.study import trials
from ml_suite.study.chooser import Decision
from ml_suite.study.contract import TrialResult
from ml_suite.study.piloting import Outcome
from ml_suite.study.speed import Rate
from tests.search.studies import samples, study
from tests.study.results import result

KEEP = ("keep: 17%", "keep: auto, rungs: {at: [2, 3]}, finalists: 2, replicates: 2")
PILOT = ("  step2:", "  pilot: {configurations: 9, budget: 60%}\n  step2:")


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))


def frozen(folder: Path, *changes: tuple[str, str]) -> Frozen:
    path = study(folder, ("trials: 12", "trials: 60"), *changes)
    samples(folder / "small.npz", 3000)
    return freeze.decide(freeze.freeze(path, folder / "study"), 0.2, 3)


def trained(study: Frozen) -> list[TrialResult]:
    """Step 1: the first trials are the best."""
    plan = study.plan
    return [
        result(i, float(i), params=trials.parameters(plan, i), epochs=6, steps=78) for i in range(plan.trials)
    ]


def found(study: Frozen, good: bool = False) -> Outcome:
    """A pilot that planned three candidates."""
    full = effort.estimated(study.plan)
    assert full is not None
    parts = {(0.2, 0): trained(study)[:9]}
    return Outcome(0.2, 3, parts, Decision(None, good), Rate(0.0, full.full), 0.0)


def test_as_many_candidates_as_the_budget_pays_and_the_same_every_time(tmp_path: Path) -> None:
    study, said = frozen(tmp_path, KEEP, PILOT), []
    again = decide.again(study, found(study), trained(study), said.append)
    assert again.plan.keep > 3
    assert said == [f"step 1: the budget pays {again.plan.keep} candidates, 3 were planned"]
    assert again.plan.study == study.plan.study
    assert decide.again(study, found(study), trained(study), said.append).plan.keep == again.plan.keep
    tight = replace(study, file=study.file.model_copy(update={"hpo": _budget(study, 0.4)}))
    assert 1 <= decide.again(tight, found(study), trained(study), said.append).plan.keep < again.plan.keep


def test_a_search_that_is_good_enough_stays_as_it_was_planned(tmp_path: Path) -> None:
    study, said = frozen(tmp_path, KEEP, PILOT), []
    assert decide.again(study, found(study, good=True), trained(study), said.append).plan == study.plan
    assert not said


def test_a_stated_number_stays(tmp_path: Path) -> None:
    study = frozen(tmp_path, PILOT)
    assert decide.again(study, found(study), trained(study), print) is study
    assert decide.again(study, None, trained(study), print) is study


def _budget(study: Frozen, budget: float) -> object:
    pilot = study.file.hpo.pilot
    assert pilot is not None
    return study.file.hpo.model_copy(update={"pilot": pilot.model_copy(update={"budget": budget})})
