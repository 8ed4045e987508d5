"""A stage: resumed, shared, stopped, with workers that die, hang and fail."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.search.claim import claim, overlap
from ml_suite.search.pool import Bench
from ml_suite.search.stages import Progress, Stopped, run_stage
from ml_suite.study import record
from ml_suite.study.contract import Cuts, Rungs, TrialResult, TrialState
from ml_suite.study.stage import Stage, Task
from tests.search.studies import plan, standin

STAGE = Stage(name="step1", step=1, members="subset", epochs=4)
RUNGS = Rungs(at=[1, 2], keep=0.5, cohort=4)

Train = Callable[..., list[TrialResult]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run a stage with stand-in workers."""
    monkeypatch.setenv("STANDIN_MARKS", str(tmp_path))
    environment = standin(tmp_path)

    def run(tasks: list[Task], stage: Stage = STAGE, **given: Any) -> list[TrialResult]:
        options: dict[str, Any] = {"workers": 2, "stop": threading.Event(), "environment": environment}
        made = given.pop("plan", plan())
        return run_stage(made, given.pop("folder", tmp_path / "s"), stage, tasks, **{**options, **given})

    return run


def tasks(count: int, **params: Any) -> list[Task]:
    return [Task(i, {"quality": (i * 7 % 10) / 10, **params}) for i in range(count)]


def test_what_is_recorded_is_not_trained_again(train: Train, tmp_path: Path) -> None:
    first = train(tasks(4))
    assert [r.state for r in first] == [TrialState.COMPLETE] * 4
    again = train(tasks(6))
    assert again[:4] == first
    assert len(record.read(tmp_path / "s" / "step1" / "0-of-1.jsonl")) == 6


def test_the_same_table_for_any_number_of_shards(train: Train, tmp_path: Path) -> None:
    stage = Stage(name="step1", step=1, members="subset", epochs=4, rungs=RUNGS)
    tables = set()
    for shards in (1, 2, 7):
        folder = tmp_path / str(shards)
        for shard in range(shards):
            train(tasks(30), stage, shard=(shard, shards), folder=folder)
        whole = train(tasks(30), stage, folder=folder)
        assert not list(folder.glob("step1/0-of-1.jsonl")) or shards == 1
        tables.add(record.table(whole))
    (table,) = tables
    assert table.count("pruned") > 15
    assert table.count("complete") >= 8


def test_rungs_cut_the_worse_half_and_then_again(train: Train) -> None:
    stage = Stage(name="step1", step=1, members="subset", epochs=4, rungs=RUNGS)
    results = train([Task(i, {"quality": i}) for i in range(4)], stage)
    assert [(r.state, r.epochs) for r in results] == [
        (TrialState.PRUNED, 1),
        (TrialState.PRUNED, 1),
        (TrialState.PRUNED, 2),
        (TrialState.COMPLETE, 4),
    ]
    assert results[2].value == results[2].best == results[2].history[-1].value


def test_candidates_are_cut_together_whatever_was_trained_before(train: Train, tmp_path: Path) -> None:
    made = plan(epochs={"step1": 4, "step2": 4})
    stage = Stage(name="step2", step=2, members="training", epochs=4, rungs=Cuts(at=[1, 2], keep=0.5))
    several = [*tasks(8)[:7], Task(7, {"quality": 0.0}, alone=True)]
    whole = train(several, stage, plan=made, folder=tmp_path / "whole")
    assert [r.epochs for r in whole].count(4) == 3
    assert whole[7].state is TrialState.COMPLETE
    fewer = train(several[:4], stage, plan=made, folder=tmp_path / "grown", workers=1)
    assert {r.state for r in fewer} == {TrialState.COMPLETE, TrialState.PRUNED}
    grown = train(several, stage, plan=made, folder=tmp_path / "grown", workers=1)
    assert record.table(grown) == record.table(whole)
    read = record.merge((tmp_path / "grown" / "step2").glob("*.jsonl"))
    assert record.table(read) == record.table(whole)


def test_a_cut_that_is_made_earlier_is_recorded_so(train: Train, tmp_path: Path) -> None:
    late = Stage(name="step2", step=2, members="training", epochs=4, rungs=Cuts(at=[2], keep=0.5))
    early = Stage(name="step2", step=2, members="training", epochs=4, rungs=Cuts(at=[1], keep=0.5))
    assert sorted(r.epochs for r in train(tasks(4), late) if r.epochs) == [2, 2, 4, 4]
    assert sorted(r.epochs for r in train(tasks(4), early) if r.epochs) == [1, 1, 4, 4]
    read = record.merge((tmp_path / "s" / "step2").glob("*.jsonl"))
    assert sorted(r.epochs for r in read if r.epochs) == [1, 1, 4, 4]


def test_workers_are_not_started_for_each_trial(train: Train) -> None:
    assert len({r.metrics["pid"] for r in train(tasks(12))}) <= 2


def test_workers_wait_for_the_next_stage_and_take_its_data(train: Train) -> None:
    half = replace(STAGE, name="step2", precision="bf16")
    with Bench() as bench:
        first = train(tasks(6), bench=bench)
        second = train([*tasks(6), Task(6, {"act": "die once"})], half, bench=bench)
        assert len({r.metrics["pid"] for r in [*first, *second]}) == 3  # one died and was replaced
        assert [r.metrics["bf16"] for r in [*first, *second]] == [False] * 6 + [True] * 7
        with pytest.raises(StudyError, match="no worker can begin: the samples cannot be read"):
            train(tasks(8), plan=plan(settings={"unusable": True}), bench=bench)
    for pid in {int(r.metrics["pid"]) for r in [*first, *second]}:
        assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_was_stopped_at_its_training_does_not_wait(train: Train) -> None:
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    with Bench() as bench:
        with pytest.raises(Stopped):
            train(tasks(2, act="hang"), stop=stop, bench=bench)
        assert bench.take(0, Path("any")) is None
        assert bench.take(1, Path("any")) is None


def test_replicates_have_seeds_of_their_own(train: Train) -> None:
    results = train([Task(3, {}, i) for i in range(3)])
    assert [r.replicate for r in results] == [0, 1, 2]
    seeds = [r.metrics["seed"] for r in results]
    assert seeds[0] == 0
    assert len(set(seeds)) == 3


def test_a_worker_that_dies_costs_one_attempt_of_one_trial(train: Train) -> None:
    results = train([*tasks(4), Task(4, {"act": "die once"}), Task(5, {"act": "die"})])
    assert [r.state for r in results] == [TrialState.COMPLETE] * 5 + [TrialState.FAILED]
    assert results[5].reason == "killed by SIGSEGV twice, perhaps for want of memory"


def test_a_trial_that_takes_too_long_is_ended_from_outside(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_suite.search.pool.GRACE", 0.0)
    monkeypatch.setattr("ml_suite.search.pool._BEGIN", 0.5)
    stage = Stage(name="step1", step=1, members="subset", epochs=4, walltime=0.3)
    results = train([*tasks(3), Task(3, {"act": "hang"})], stage)
    assert [r.state for r in results] == [TrialState.COMPLETE] * 3 + [TrialState.FAILED]
    assert results[3].reason == "took longer than its walltime of 0.3 s"


def test_workers_that_cannot_begin_end_the_stage_at_once(train: Train, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no worker can begin: the samples cannot be read"):
        train(tasks(100), plan=plan(settings={"unusable": True}))
    assert not record.read(tmp_path / "s" / "step1" / "0-of-1.jsonl")


def test_a_worker_that_leaves_after_it_trained_fails_one_trial_only(train: Train) -> None:
    results = train([*tasks(3), Task(3, {"act": "exit"})], workers=1)
    assert results[3].reason.startswith("the worker ended with exit code 1: KeyError: 'x' twice")


def test_a_metric_that_never_appears_ends_the_stage_at_the_first_trial(train: Train, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="it reported val_loss") as caught:
        train(tasks(100, act="absent"))
    assert caught.value.hint == "Set hpo.metric to one of these names."
    assert len(record.read(tmp_path / "s" / "step1" / "0-of-1.jsonl")) <= 2


def test_a_stage_in_which_nothing_trains_gives_up_and_tries_again_next_time(train: Train) -> None:
    with pytest.raises(StudyError, match=r"no trial of step1 trains; trial \d+: ValueError: no"):
        train(tasks(100, act="fail"))
    assert {r.state for r in train(tasks(100))} == {TrialState.COMPLETE}


def test_some_failures_stay(train: Train) -> None:
    mixed = [*tasks(4), *(Task(i, {"act": "fail"}) for i in range(4, 8))]
    first = train(mixed)
    assert [r.state for r in first] == [TrialState.COMPLETE] * 4 + [TrialState.FAILED] * 4
    assert train(mixed) == first


def test_a_failed_candidate_of_step_2_is_tried_again(train: Train) -> None:
    stage = Stage(name="step2", step=2, members="training", epochs=4)
    first = train([*tasks(2), Task(2, {"act": "fail"})], stage)
    assert first[2].state is TrialState.FAILED
    again = train(tasks(3), stage)
    assert again[:2] == first[:2]
    assert again[2].state is TrialState.COMPLETE


def test_a_disk_without_room_is_no_failure_of_a_trial(train: Train, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"trial 3 could not be kept: OSError: .* No space left") as caught:
        train([*tasks(3), Task(3, {"act": "full"})])
    assert "Make room, then run it again" in (caught.value.hint or "")
    assert {r.state for r in record.read(tmp_path / "s" / "step1" / "0-of-1.jsonl")} <= {TrialState.COMPLETE}
    assert len(train(tasks(4))) == 4


def test_trials_that_diverge_are_results(train: Train) -> None:
    assert {r.state for r in train(tasks(12, act="nan"))} == {TrialState.DIVERGED}


def test_a_stage_that_is_told_to_stop_goes_on_next_time(train: Train, tmp_path: Path) -> None:
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.done == 3:
            stop.set()

    with pytest.raises(Stopped, match=r"stopped: [3-5] of 40 trainings of step1 are done") as caught:
        train(tasks(40, sleep=0.02), stop=stop, progress=watch)
    assert caught.value.hint == "Run it again: it goes on from there."
    known = len(record.read(tmp_path / "s" / "step1" / "0-of-1.jsonl"))
    assert 3 <= known <= 5
    assert len(train(tasks(40))) == 40


def test_a_training_that_hangs_is_stopped_too(train: Train) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        train([Task(0, {"act": "hang"})], stop=stop)
    assert time.monotonic() - begin < 20


def test_progress_adds_up(train: Train) -> None:
    told: list[Progress] = []
    train(tasks(3))
    train(tasks(9), progress=told.append)
    assert (told[0].done, told[0].total, told[-1].done) == (3, 9, 9)
    assert told[0].begun == pytest.approx(1 / 3)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].best is not None
    assert told[-1].best.params["quality"] == 0.9
    assert told[-1].states == {TrialState.COMPLETE: 9}


CODE = """
import sys, threading
from pathlib import Path
from ml_suite.search.claim import claim, overlap
from ml_suite.search.stages import run_stage
from ml_suite.study.contract import Rungs
from ml_suite.study.stage import Stage, Task
from tests.search.studies import plan
stage = Stage(name="step1", step=1, members="subset", epochs=4, rungs=Rungs(at=[1, 2], keep=0.5, cohort=4))
tasks = [Task(i, {"quality": (i * 7 % 10) / 10, "sleep": 0.01}) for i in range(36)]
shard = tuple(int(x) for x in sys.argv[3].split("/"))
run_stage(plan(), Path(sys.argv[1]), stage, tasks, workers=2, stop=threading.Event(),
          environment=Path(sys.argv[2]), shard=shard)
"""


def begin(folder: Path, environment: Path, shard: str = "0/1") -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CODE, str(folder), str(environment), shard]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def test_killed_again_and_again_it_ends_with_the_same_table(tmp_path: Path) -> None:
    environment = standin(tmp_path)
    assert begin(tmp_path / "whole", environment).wait() == 0
    moments = random.Random(1)
    path = tmp_path / "killed" / "step1" / "0-of-1.jsonl"
    kills = 0
    while (running := begin(tmp_path / "killed", environment)) is not None:
        known, shot = len(_lines(path)), False
        enough = known + moments.randint(2, 9)
        while len(_lines(path)) < enough and running.poll() is None:
            if not shot and len(_lines(path)) > known and (workers := _children(running.pid)):
                os.kill(
                    workers[0], signal.SIGKILL
                )  # one at most: a training that kills two workers has failed
                shot = True
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.03))
        children = _children(running.pid)
        running.kill()
        if running.wait() == 0:
            break
        kills += 1
        _require_gone(children)
        if moments.random() < 0.5:
            path.write_bytes(path.read_bytes()[:-9])  # as a torn last line
    assert kills >= 4
    tables = [
        record.table(record.merge((tmp_path / name / "step1").glob("*.jsonl")))
        for name in ("whole", "killed")
    ]
    assert tables[0] == tables[1]
    assert not (tmp_path / "killed" / "step1" / "states").exists()


def test_a_shard_is_run_once_at_a_time_and_its_holder_is_named(tmp_path: Path) -> None:
    environment = standin(tmp_path)
    with claim(tmp_path / "s" / "step1", (1, 3)):
        refused = [begin(tmp_path / "s", environment, shard) for shard in ("1/3", "0/1")]
        told = [process.communicate()[1] for process in refused]
        # only then another shard: 0/1 would meet it too, and may name either
        beside = begin(tmp_path / "s", environment, "0/3")
        beside.communicate()
        assert [process.returncode for process in (*refused, beside)] == [1, 1, 0]
        for words in told:
            assert f"is being worked on: shard 2/3, by process {os.getpid()} on " in words
    assert begin(tmp_path / "s", environment).wait() == 0


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_shards_overlap_when_they_have_a_cohort_in_common(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, m - 1))
    common = any(i % n == a and i % m == b for i in range(n * m))
    assert overlap((a, n), (b, m)) is common


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def _require_gone(pids: list[int]) -> None:
    """Workers die with the process that started them."""
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids):
        assert time.monotonic() < end, "a worker outlives its parent"
        time.sleep(0.02)
