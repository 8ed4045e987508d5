"""Whole studies with real workers, on a table of 600 samples."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_suite.errors import StudyError
from ml_suite.search import freeze
from ml_suite.search.run import Listener, Options, run
from ml_suite.search.stages import Progress, Stopped
from ml_suite.study import record
from ml_suite.study.contract import Selection, TrialState
from tests.search.studies import samples, study


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))
    return anemoi_python


def ran(path: Path, **given: Any) -> Selection | None:
    options = Options(**{"root": path.parent / "study", "workers": 1, **given})
    return run(path, threading.Event(), options)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_a_study_from_samples_to_a_network(tmp_path: Path, environment: Path) -> None:
    path = study(tmp_path, ("keep: 17%", "keep: 17%, finalists: 1, replicates: 2, controls: 1"))
    told: list[str] = []
    won = ran(path, listener=Listener(say=told.append))
    assert won is not None
    assert won.trial in {
        int(r["trial"]) for r in rows(tmp_path / "study" / "step1.csv") if r["state"] == "complete"
    }
    assert len(won.replicates) == 2
    assert won.value == pytest.approx(sum(won.replicates) / 2)
    assert won.result.metrics["test_loss"] > 0
    states = [r["state"] for r in rows(tmp_path / "study" / "step1.csv")]
    assert states.count("pruned") == states.count("complete") == 6
    first = {r["trial"]: r for r in rows(tmp_path / "study" / "step1.csv")}
    second = rows(tmp_path / "study" / "step2.csv")
    assert all(float(r["value"]) < float(first[r["trial"]]["value"]) for r in second if r["replicate"] == "0")
    code = (
        "import json, sys, numpy as np, onnxruntime as o; x = np.load(sys.argv[2])['x'][:5]\n"
        "print(json.dumps(o.InferenceSession(sys.argv[1]).run(None, {'inputs': x})[0].tolist()))"
    )
    argv = [environment, "-c", code, tmp_path / "study" / "winner.onnx", tmp_path / "small.npz"]
    predicted = np.array(json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))
    assert np.abs(predicted - np.load(tmp_path / "small.npz")["y"][:5]).max() < 0.5
    assert json.loads((tmp_path / "study" / "cost.json").read_text())["seconds"] > 0
    # again: nothing is trained, nothing changes
    before = (tmp_path / "study" / "selection.json").read_bytes()
    seen: list[Progress] = []
    ran(path, listener=Listener(progress=seen.append))
    assert all(p.latest is None for p in seen)
    assert (tmp_path / "study" / "selection.json").read_bytes() == before


CODE = """
import sys, threading
from pathlib import Path
from ml_suite.search import freeze
from ml_suite.search.run import Options, run
shard = tuple(map(int, sys.argv[3].split("/")))
run(Path(sys.argv[1]), threading.Event(), Options(Path(sys.argv[2]), shard if shard[1] > 1 else None, 1))
"""


def begin(path: Path, folder: Path, shard: str = "0/1") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CODE, str(path), str(folder), shard])


def test_shards_and_kills_leave_no_trace_in_the_tables(tmp_path: Path) -> None:
    path = study(
        tmp_path, ("units: {choice: [4, 8]", "units: {choice: [64, 128]"), ("trials: 12", "trials: 16")
    )
    path.write_text(path.read_text().replace("epochs: 6", "epochs: 30"))
    assert begin(path, tmp_path / "whole").wait() == 0
    shards = [begin(path, tmp_path / "shared", f"{k}/2") for k in range(2)]
    assert [process.wait() for process in shards] == [0, 0]
    assert not (tmp_path / "shared" / "shortlist.json").exists()
    moments, file = random.Random(3), tmp_path / "shared" / "step2" / "0-of-1.jsonl"
    # one of them is killed in step 2
    process = begin(path, tmp_path / "shared")
    while process.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert begin(path, tmp_path / "shared").wait() == 0
    file = tmp_path / "killed" / "step1" / "0-of-1.jsonl"
    for _ in range(2):
        known = _lines(file)
        process = begin(path, tmp_path / "killed")
        while process.poll() is None and _lines(file) <= known:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert begin(path, tmp_path / "killed").wait() == 0
    for name in ("step1.csv", "step2.csv"):
        tables = {(tmp_path / folder / name).read_bytes() for folder in ("whole", "shared", "killed")}
        assert len(tables) == 1
    won = {
        Selection.load(tmp_path / folder / "selection.json").trial for folder in ("whole", "shared", "killed")
    }
    assert len(won) == 1


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_metric_that_a_program_does_not_report_ends_it_at_the_first_trial(tmp_path: Path) -> None:
    samples(tmp_path / "small.npz", 60)
    (tmp_path / "train.py").write_text(PROGRAM)
    path = tmp_path / "study.yaml"
    path.write_text(COMMAND.replace("metric: error", "metric: skill"))
    with pytest.raises(
        StudyError,
        match=r"trial \d+: the training never reported the metric 'skill'; it reported error, samples",
    ):
        ran(path)
    assert len(record.read(tmp_path / "study" / "step1" / "0-of-1.jsonl")) == 1
    # the cure makes it another study, and nothing was finished
    path.write_text(COMMAND)
    freeze.settle(freeze.freeze(path, tmp_path / "study"))


def test_a_study_in_which_every_trial_diverges_has_no_winner(tmp_path: Path) -> None:
    path = study(tmp_path, ("{log: [1e-4, 1e-1]}", "{log: [1e+30, 1e+38]}"), ("trials: 12", "trials: 4"))
    path.write_text(
        path.read_text().replace("keep: 17%", "keep: 50%").replace("batch: 32", "batch: 32\n  output: linear")
    )
    with pytest.raises(StudyError, match="none of the 4 trials of step 1 is complete: 4 diverged"):
        ran(path)
    results = record.merge((tmp_path / "study" / "step1").glob("*.jsonl"))
    assert {r.state for r in results} == {TrialState.DIVERGED}
    assert not (tmp_path / "study" / "selection.json").exists()


def test_records_of_another_study_are_left_out_and_counted(tmp_path: Path) -> None:
    path = study(tmp_path, ("trials: 12", "trials: 4"), ("keep: 17%", "keep: 25%"))
    ran(path)
    line = (tmp_path / "study" / "step1" / "0-of-1.jsonl").read_text().splitlines()[0]
    other = json.loads(line) | {"study": "0" * 16, "state": "complete", "value": -1.0, "best": -1.0}
    (tmp_path / "study" / "step1" / "9-of-9.jsonl").write_text(json.dumps(other) + "\n")
    told: list[str] = []
    won = ran(path, listener=Listener(say=told.append))
    assert won is not None
    assert won.value > 0
    assert f"left out of the record, as results of another study: 1 of study {'0' * 16}" in told


def test_a_study_that_is_stopped_goes_on(tmp_path: Path) -> None:
    path = study(tmp_path)
    stop = threading.Event()
    listener = Listener(progress=lambda p: stop.set() if p.done >= 2 else None)
    with pytest.raises(Stopped, match="of 12 trainings of step1 are done"):
        run(path, stop, Options(tmp_path / "study", None, 1, listener))
    assert ran(path) is not None


def test_an_adaptive_sampler_is_asked_round_after_round(tmp_path: Path) -> None:
    path = study(tmp_path, ("  space:", "  sampling: {optuna: tpe, rounds: 2}\n  space:"))
    assert ran(path) is not None
    draws = [json.loads(p.read_text()) for p in sorted((tmp_path / "study" / "draws").glob("*.json"))]
    assert [len(d["trials"]) for d in draws] == [8, 4]
    assert [d["seen"] for d in draws] == [0, 8]
    table = (tmp_path / "study" / "step1.csv").read_bytes()
    with pytest.raises(StudyError, match="step 1 cannot be shared: optuna:tpe draws each round"):
        ran(path, shard=(0, 2))
    ran(path)
    assert (tmp_path / "study" / "step1.csv").read_bytes() == table


COMMAND = """\
study: own
data: {arrays: small.npz, validation: 20%, test: 10%}
training: {trainer: command, command: ["{python}", "{files}/train.py"], files: [train.py], epochs: 4}
hpo:
  metric: error
  space: {a: {int: [1, 9]}}
  step1: {trials: 6, subset: 20%}
  step2: {keep: 50%, select: lightest within 50%}
"""
PROGRAM = """\
import json, sys
spec = json.load(open(sys.argv[1]))
a = spec["params"]["a"]
if a == 3: sys.exit("ValueError: three is not possible")
outcome = {"metrics": {"error": 1 + a / 100, "samples": spec["samples"]}, "parameters": 100 - a}
json.dump(outcome, open("outcome.json", "w"))
"""


def test_a_program_of_ones_own(tmp_path: Path) -> None:
    samples(tmp_path / "small.npz")
    (tmp_path / "train.py").write_text(PROGRAM)
    path = tmp_path / "study.yaml"
    path.write_text(COMMAND)
    won = ran(path, workers=2)
    assert won is not None
    second = record.merge((tmp_path / "study" / "step2").glob("*.jsonl"))
    assert {r.metrics["samples"] for r in second} == {420}
    assert won.params["a"] == max(r.params["a"] for r in second)
    first = record.merge((tmp_path / "study" / "step1").glob("*.jsonl"))
    assert all((r.state is TrialState.FAILED) is (r.params["a"] == 3) for r in first)
    assert (tmp_path / "study" / "step1" / "trials" / f"{won.trial:05d}" / "outcome.json").exists()


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"


def test_a_full_disk_in_mid_record_is_told_and_the_study_goes_on(tmp_path: Path) -> None:
    samples(tmp_path / "small.npz", 60)
    (tmp_path / "train.py").write_text(PROGRAM)
    path = tmp_path / "study.yaml"
    path.write_text(COMMAND.replace("trials: 6", "trials: 24").replace("keep: 50%", "keep: 5%"))
    argv = [sys.executable, "-c", FULL + CODE, path, tmp_path / "study", "0/1"]
    full = subprocess.run(argv, capture_output=True, text=True)
    assert "step1/0-of-1.jsonl cannot be written: file too large" in full.stderr
    known = record.read(tmp_path / "study" / "step1" / "0-of-1.jsonl")
    assert 3 < len(known) < 24
    assert ran(path, workers=2) is not None
    assert record.read(tmp_path / "study" / "step1" / "0-of-1.jsonl")[: len(known)] == known


def test_candidates_with_rungs_give_the_same_table_however_often_it_is_killed(tmp_path: Path) -> None:
    path = study(
        tmp_path,
        ("units: {choice: [4, 8]", "units: {choice: [64, 128]"),
        ("keep: 17%", "keep: 50%, rungs: {at: [5, 10]}, controls: 1, finalists: 2, replicates: 2"),
        ("epochs: 6", "epochs: 20"),
    )
    assert begin(path, tmp_path / "whole").wait() == 0
    file = tmp_path / "killed" / "step2" / "0-of-1.jsonl"
    for _ in range(2):
        known = _lines(file)
        process = begin(path, tmp_path / "killed")
        while process.poll() is None and _lines(file) <= known:
            time.sleep(0.002)
        process.kill()
        process.wait()
    won = ran(path, root=tmp_path / "killed", workers=2)
    tables = {(tmp_path / folder / "step2.csv").read_bytes() for folder in ("whole", "killed")}
    assert len(tables) == 1
    found = rows(tmp_path / "whole" / "step2.csv")
    first = [r for r in found if r["replicate"] == "0"]
    assert sorted((r["state"], r["epochs"]) for r in first) == [
        *[("complete", "20")] * 3,
        ("pruned", "10"),
        *[("pruned", "5")] * 3,
    ]
    assert won is not None
    assert len(won.replicates) == 2
    cut = {int(r["trial"]) for r in first if r["state"] == "pruned"}
    assert won.trial not in cut
    assert not [trial for trial in cut if list((tmp_path / "whole" / "weights").glob(f"{trial}-*"))]
