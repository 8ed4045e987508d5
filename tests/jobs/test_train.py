"""A single training without a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import StudyError
from ml_suite.jobs import train
from ml_suite.study.contract import Selection, StudyPlan, TrialSpec
from tests.jobs.study_rig import Rig, make


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = make(tmp_path, monkeypatch, hpo=False)
    program = tmp_path / "program.py"
    program.write_text(program.read_text().replace('"val": value', '"value": value'))
    return rig


def test_it_trains_on_everything_and_leaves_a_selection(rig: Rig) -> None:
    train.run(rig.job, [])
    train.run(rig.job, [])
    selection = Selection.load(rig.job.tree.selection)
    assert (selection.step, selection.trial, selection.step1_value) == (0, 0, None)
    assert selection.value == pytest.approx(0.04 + 1 / 45)
    plan = StudyPlan.load(rig.job.tree.plan)
    spec = TrialSpec.load(rig.job.tree.trial(0, 0) / "trial.json")
    assert spec.training == plan.split.training
    assert rig.calls() == ["0/0"]
    assert len(list(rig.job.tree.outbox.glob("*.json"))) == 3  # study, run, checkpoint


def test_a_failure_is_red_and_tried_again(rig: Rig) -> None:
    rig.behave(**{"0/0": "crash"})
    with pytest.raises(StudyError, match="no such layer"):
        train.run(rig.job, [])
    assert not rig.job.tree.selection.exists()
    rig.behave()
    train.run(rig.job, [])
    assert rig.job.tree.selection.exists()
