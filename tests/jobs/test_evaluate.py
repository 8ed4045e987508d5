"""Evaluation and registration where there is little to do; the real ones are in tests/lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.evaluation.scores import Evaluation
from ml_suite.jobs import evaluate, register
from tests.jobs.study_rig import Rig, make


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: Any) -> Rig:
    """A finished study of trainer command."""
    rig = make(tmp_path, monkeypatch)
    rig.all_shards()
    rig.study("shortlist")
    for rank in ("1", "2"):
        rig.study("retrain", "--rank", rank)
    rig.study("select")
    return rig


def test_without_a_winner_both_say_what_to_run(tmp_path: Path, monkeypatch: Any) -> None:
    rig = make(tmp_path, monkeypatch)
    for job in (evaluate, register):
        with pytest.raises(StudyError, match=r"no winner yet.*\n.*task select"):
            job.run(rig.job, [])


def test_of_a_program_only_its_own_value_is_known(searched: Rig, capsys: Any) -> None:
    evaluate.run(searched.job, [])
    scores = Evaluation.load(searched.job.tree.evaluation / "scores.json")
    selection = evaluate.winner_of(searched.job.tree)
    assert scores.winner.loss is None
    assert scores.winner.validation == selection.value
    assert "trainer command" in scores.note
    assert "not scored" in capsys.readouterr().out
    assert not list(searched.job.tree.evaluation.glob("*.png"))


def test_registering_needs_the_scores_of_this_winner(searched: Rig) -> None:
    with pytest.raises(StudyError, match="not evaluated"):
        register.run(searched.job, [])
    scores = evaluate.evaluate(searched.job)
    other = scores.model_copy(update={"models": [scores.winner.model_copy(update={"sha256": "0" * 64})]})
    other.save(searched.job.tree.evaluation / "scores.json")
    with pytest.raises(StudyError, match="other weights"):
        register.run(searched.job, [])


def test_registering_needs_the_courier(searched: Rig) -> None:
    evaluate.run(searched.job, [])
    with pytest.raises(StudyError, match=r"nothing was delivered.*\n.*task deliver"):
        register.run(searched.job, [])
