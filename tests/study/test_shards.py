"""Step 1 in any number of shards, killed and torn: the same table, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ml_suite.study import record, trials
from ml_suite.study.contract import Rungs, SearchPlan, StudyPlan
from tests.study.results import plan, result

SPACE: dict[str, dict[str, Any]] = {
    "layers": {"int": [1, 4]},
    "units": {"choice": [8, 16, 32], "per": "layers"},
    "lr": {"log": [1e-5, 1e-1]},
}
TRIALS = 60

SHARD = """
import sys, time
from pathlib import Path
from ml_suite.study.contract import StudyPlan
from tests.study.test_shards import work
work(StudyPlan.load(Path(sys.argv[1]) / "plan.json"), Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
"""


def work(of: SearchPlan, folder: Path, shard: int, pause: float = 0.0) -> None:
    """Do what a job of step 1 does: what is recorded is not made again."""
    path = folder / f"{shard:03d}.jsonl"
    done = {r.trial for r in record.merge(folder.glob("*.jsonl"), of.study)}
    with record.Record(path) as file:
        for trial in trials.of_shard(of, shard):
            if trial not in done:
                time.sleep(pause)
                params = trials.parameters(of, trial)
                value = params["lr"] * len(params["units"])
                file.add(
                    [result(trial, value, study=of.study, params=params, host=f"h{shard}", seconds=pause)]
                )


def search(shards: int, **changes: Any) -> StudyPlan:
    return plan(space=SPACE, trials=TRIALS, shards=shards, **changes)


def table(of: SearchPlan, folder: Path) -> bytes:
    results = record.merge(folder.glob("*.jsonl"), of.study)
    assert [r.trial for r in results] == list(range(TRIALS))
    return record.table(results).encode()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    of = search(1)
    folder = tmp_path / "whole"
    work(of, folder, 0)
    return table(of, folder)


@pytest.mark.parametrize("rungs", [None, Rungs(at=[1], keep=0.5, cohort=8)], ids=["alone", "cohorts"])
@pytest.mark.parametrize("shards", [2, 7])
def test_any_number_of_shards_gives_the_same_table(
    tmp_path: Path, whole: bytes, shards: int, rungs: Rungs | None
) -> None:
    of = search(shards, rungs=rungs)
    for shard in reversed(range(shards)):
        work(of, tmp_path / "step1", shard)
    assert table(of, tmp_path / "step1") == whole


@pytest.mark.parametrize("left", [0, 1, 400, 100_000])
def test_a_torn_last_line_is_trained_again(tmp_path: Path, whole: bytes, left: int) -> None:
    """Whatever a killed job left of its last line, and of the blocks that the file system had not filled yet."""
    of = search(2)
    folder = tmp_path / "step1"
    for shard in (0, 1):
        work(of, folder, shard)
    torn = folder / "001.jsonl"
    lines = torn.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:-5]) + lines[-5][:left].rstrip(b"\n") + bytes(max(0, left - 1000)))
    kept = {r.trial for r in record.merge(folder.glob("*.jsonl"))}
    assert len(kept) == TRIALS - 5
    work(of, folder, 1)
    assert table(of, folder) == whole


def test_shards_that_are_killed_go_on(tmp_path: Path, whole: bytes) -> None:
    of = search(2)
    folder = tmp_path / "step1"
    of.save(folder / "plan.json")

    def start(shard: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SHARD, str(folder), str(shard), "0.01"])

    for kills in (1, 9):
        processes = [start(shard) for shard in (0, 1)]
        deadline = time.monotonic() + 60
        while len(record.merge(folder.glob("*.jsonl"))) < kills:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert len(record.merge(folder.glob("*.jsonl"))) < TRIALS
    assert [start(shard).wait(60) for shard in (0, 1)] == [0, 0]
    assert table(of, folder) == whole


def test_two_jobs_with_one_number_change_nothing(tmp_path: Path, whole: bytes) -> None:
    """The scheduler started a job again that it thought dead."""
    of = search(1)
    folder = tmp_path / "step1"
    of.save(folder / "plan.json")
    command = [sys.executable, "-c", SHARD, str(folder), "0", "0.005"]
    twins = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in twins] == [0, 0]
    assert table(of, folder) == whole
