"""The append-only record."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
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
    names = "step,trial,replicate,state,value,best,epochs,steps,effective_lr,global_batch,parameters"
    assert header == f"{names},lr,name"
    assert row == '1,3,0,complete,0.1,,,,,,,1e-05,"a,b"'


def test_lists_are_written_so_that_they_can_be_read_back() -> None:
    text = record.table([result(0, 0.1, params={"units": [8, 16]})])
    assert json.loads(next(csv.DictReader(io.StringIO(text)))["units"]) == [8, 16]


def test_replicates_are_trainings_of_their_own(tmp_path: Path) -> None:
    with record.Record(tmp_path / "a.jsonl") as open_record:
        open_record.add([result(0, 0.5, step=2, replicate=i) for i in (1, 0)])
    assert [r.replicate for r in record.merge([tmp_path / "a.jsonl"])] == [0, 1]


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    for i in range(3):
        record.append(tmp_path / "a.jsonl", result(i, 0.5, study="old" if i else "s"))
    found = record.gather([tmp_path / "a.jsonl"], "s")
    assert [r.trial for r in found.results] == [0]
    assert found.left_out == "2 of study old"
    assert not record.gather([tmp_path / "a.jsonl"]).left_out


@pytest.mark.parametrize("jump", [timedelta(hours=-5), timedelta(0), timedelta(hours=5)])
def test_a_clock_that_jumps_changes_nothing(jump: timedelta, tmp_path: Path) -> None:
    """A failure never hides a value, neither in one file nor in another; of two failures the second is told."""
    record.append(tmp_path / "b.jsonl", result(0, reason="first"))
    record.append(tmp_path / "b.jsonl", result(0, reason="second", ended=WHEN + jump))
    assert record.merge(tmp_path.glob("*.jsonl"))[0].reason == "second"
    record.append(tmp_path / "a.jsonl", result(0, 0.5, ended=WHEN + jump))
    record.append(tmp_path / "a.jsonl", result(0, reason="third", ended=WHEN + 2 * jump))
    assert record.merge(tmp_path.glob("*.jsonl"))[0].value == 0.5


def test_a_full_disk_leaves_whole_lines_and_says_so(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from ml_suite.study import record\n"
        "from tests.study.results import result\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "for i in range(99): record.append(Path(sys.argv[1]), result(i, 0.5))"
    )
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert f"{path} cannot be written: file too large" in done.stderr
    known = len(record.read(path))
    assert known
    assert path.read_bytes().endswith(b"\n")
    record.append(path, result(known, 0.5))
    assert [r.trial for r in record.read(path)] == list(range(known + 1))
