"""What is known of a study, from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.search import network
from ml_suite.search.folder import Folder
from ml_suite.search.look import find, look
from ml_suite.search.network import Network
from ml_suite.study import record, two_step
from ml_suite.study.contract import Checkpoint, Selection
from tests.search import studies
from tests.study.results import plan, result


def test_a_study_of_a_deployed_suite_with_what_came_from_other_hosts(tmp_path: Path) -> None:
    made = plan()
    folder = tmp_path / "suites" / "s" / "once" / "study"
    made.save(folder / "plan.json")
    record.append(folder / "step1" / "000.jsonl", result(0, 0.5, study=made.study))
    away = tmp_path / "mirror" / "far" / "suites" / "s" / "once" / "study" / "step1" / "001.jsonl"
    record.append(away, result(1, 0.4, study=made.study))
    known = look(find(str(folder)))
    assert [r.trial for r in known.of_step(1)] == [0, 1]
    assert known.plan == made


def test_what_an_earlier_study_left_is_not_this_ones(tmp_path: Path) -> None:
    old, new = plan(seed=1), plan()
    results = [result(i, i / 10, study=old.study) for i in range(4)]
    two_step.shortlist(old, results).save(tmp_path / "shortlist.json")
    for one in results:
        record.append(tmp_path / "step1" / "0-of-1.jsonl", one)
    new.save(tmp_path / "plan.json")
    known = look(Folder(tmp_path))
    assert known.shortlist is None
    assert known.results == []
    assert known.left_out == f"4 of study {old.study}"


def test_the_network_of_another_winner_is_not_this_ones(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.network.touch()
    facts = Network(weights="1", path="w", parameters=2, difference=0.0, samples=1, seconds={}, metadata={})
    facts.save(folder.facts)

    def winner(sha256: str) -> Selection:
        weights = Checkpoint(path=tmp_path / "w", sha256=sha256, size=1)
        won = result(0, 0.5, step=2).model_copy(update={"checkpoint": weights})
        return Selection(study=won.study, trial=0, step=2, params={}, value=0.5, step1_value=None, result=won)

    assert network.known(folder, winner("1")) == facts
    assert network.known(folder, winner("2")) is None
    assert network.known(folder, None) is None


def test_trials_beyond_the_study_do_not_count(tmp_path: Path) -> None:
    made = studies.plan(trials=2)
    made.save(tmp_path / "plan.json")
    for i in range(4):
        record.append(tmp_path / "step1" / "0-of-1.jsonl", result(i, i / 10, study=made.study))
    assert len(look(Folder(tmp_path)).results) == 2


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StudyError, match=r"plan\.json is damaged"):
        look(Folder(tmp_path))
    plan().save(tmp_path / "plan.json")
    (tmp_path / "selection.json").write_text("{}")
    with pytest.raises(StudyError, match=r"selection\.json is damaged"):
        look(Folder(tmp_path))


def test_studies_that_are_there_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path))
    plan().save(tmp_path / "studies" / "one" / "plan.json")
    assert find("one") == Folder(tmp_path / "studies" / "one")
    with pytest.raises(MlSuiteError, match="there is no study 'two'") as caught:
        find("two")
    assert caught.value.hint == "There are: one."
