"""The append-only record."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import record
from ml_suite.study.contract import TrialState
from tests.study.results import WHEN, result


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "step1" / "000.jsonl"
    assert record.read(path) == []
    record.append(path, result(1, 0.5))
    record.append(path, result(2))
    assert record.read(path) == [result(1, 0.5), result(2)]


@given(cut=st.integers(1, 200))
def test_a_torn_last_line_is_dropped_and_cut_off(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("r") / "0.jsonl"
    record.append(path, result(0, 0.1))
    record.append(path, result(1, 0.2))
    path.write_bytes(path.read_bytes()[:-cut])
    assert [r.trial for r in record.read(path)] == [0]
    record.append(path, result(1, 0.2))
    assert [r.trial for r in record.read(path)] == [0, 1]


def test_a_broken_line_in_the_middle_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    path.write_text('{"study": 1}\n')
    record.append(path, result(0, 0.1))
    with pytest.raises(StudyError, match=r"0\.jsonl:1: not a trial's result"):
        record.read(path)


@given(shards=st.integers(1, 9), order=st.permutations(range(9)))
def test_the_table_does_not_depend_on_files_and_order(
    shards: int, order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("r")
    results = [
        result(i, i / 7, seconds=order[i], host=f"h{order[i]}", run_id=str(order[i])) for i in range(9)
    ]
    for i in order:
        record.append(folder / f"{i % shards}.jsonl", results[i])
    merged = record.merge(folder.glob("*.jsonl"))
    assert record.table(merged) == record.table(results)
    assert [r.trial for r in merged] == list(range(9))


def test_a_trial_that_ran_again_after_a_stop_counts_once(tmp_path: Path) -> None:
    stopped = result(0, state=TrialState.PREEMPTED, ended=WHEN + timedelta(hours=2))
    record.append(tmp_path / "a.jsonl", stopped)
    record.append(tmp_path / "b.jsonl", result(0, 0.5))
    assert record.merge(tmp_path.glob("*.jsonl")) == [result(0, 0.5)]


def test_trials_of_another_study_are_left_out(tmp_path: Path) -> None:
    record.append(tmp_path / "a.jsonl", result(0, 0.5, study="old"))
    record.append(tmp_path / "a.jsonl", result(1, 0.5))
    assert [r.trial for r in record.merge(tmp_path.glob("*.jsonl"), "s")] == [1]


def test_the_table_holds_no_times_and_no_places() -> None:
    header, row = record.table(
        [result(3, 0.1, seconds=9.9, params={"lr": 1e-05, "name": "a,b"})]
    ).splitlines()
    assert header == "step,trial,state,value,best,effective_lr,global_batch,parameters,lr,name"
    assert row == '1,3,complete,0.1,,,,,1e-05,"a,b"'
