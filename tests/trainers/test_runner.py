"""Trainings that wait and go on, with a small program as trainer; of periods and of tables of samples alike."""

from __future__ import annotations

import json
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.study.arrays import Arrays, ArraySpec
from ml_suite.study.contract import (
    Budget,
    DatasetRef,
    Layout,
    Span,
    Specification,
    TrialResult,
    TrialSpec,
    TrialState,
)
from ml_suite.trainers import outcome, runner

# a loss that falls by a factor each epoch, kept in the file `resume`; how it behaves is a hyperparameter
PROGRAM = """
import json, os, sys, time
from pathlib import Path
spec = json.loads(Path(sys.argv[1]).read_text())
how, budget = spec["params"]["how"], spec["budget"]
done = int(Path("resume").read_text()) if Path("resume").exists() else 0
with open("calls", "a") as f:
    f.write(f"{done} ")
history = []
while done < budget["epochs"]:
    if how == "slow":
        time.sleep(0.4)
    if how == "dies once" and done == 3 and not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), 9)
    history.append({"epoch": done, "step": 10 * (done + 1), "value": 0.5 ** done})
    done += 1
    Path("resume").write_text(str(done))
    if done == budget["until"] and how != "deaf":
        break
report = {"metrics": {"val": 0.5 ** (done - 1)}, "paused": done < budget["epochs"], "inference_seconds": 1e-3}
if how != "forgetful":
    report["history"] = history
if how == "content":
    report |= {"stopped_early": True, "paused": False}
Path("outcome.json").write_text(json.dumps(report))
"""


def common(folder: Path, how: str, **budget: Any) -> dict[str, Any]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return {
        "study": "s",
        "trial": 3,
        "step": 1,
        "trainer": "command",
        "params": {"how": how},
        "metric": "val",
        "direction": "minimize",
        "seed": 0,
        "samples": 4,
        "layout": Layout(replicas=1, reference=1),
        "budget": Budget(epochs=6, **budget),
        "command": [sys.executable, str(program)],
        "environment": Path(sys.prefix),
        "output": folder / "trial",
    }


def dated(folder: Path, how: str = "well", **budget: Any) -> TrialSpec:
    span = Span(start=datetime(1996, 1, 5), end=datetime(1996, 1, 6))
    return TrialSpec(
        **common(folder, how, **budget),
        dataset=DatasetRef(name="d", path=folder, uuid="u", manifest="m"),
        training=span,
        validation=span,
        test=span,
    )


def table(folder: Path, how: str = "well", **budget: Any) -> ArraySpec:
    arrays = Arrays(path=folder / "a.npz", inputs="x", targets="y", sha256="0" * 64, samples=9, shape=(2, 1))
    return ArraySpec(**common(folder, how, **budget), arrays=arrays, members={"training": folder / "t.npy"})


def run(spec: Specification) -> TrialResult:
    return runner.run(spec, threading.Event())


def calls(spec: Specification) -> list[int]:
    """Epoch at which each call of the program began."""
    return [int(word) for word in (spec.output / "calls").read_text().split()]


@pytest.mark.parametrize("make", [dated, table])
def test_a_training_waits_and_goes_on_where_it_was(tmp_path: Path, make: Any) -> None:
    first = run(make(tmp_path, until=2))
    assert outcome.paused(first)
    assert (first.state, first.epochs, first.steps, first.best) == (TrialState.PREEMPTED, 2, 20, 0.5)
    last = run(make(tmp_path))
    assert (last.state, last.reason, last.epochs, last.value) == (TrialState.COMPLETE, "", 6, 0.5**5)
    assert [(p.epoch, p.value) for p in last.history] == [(i, 0.5**i) for i in range(6)]
    assert last.inference_seconds == 1e-3
    assert last.seconds > first.seconds
    assert calls(make(tmp_path)) == [0, 2]


def test_a_training_that_waits_is_not_run_again_for_the_same_epoch(tmp_path: Path) -> None:
    spec = dated(tmp_path, until=3)
    once = run(spec)
    assert run(spec) == once
    assert run(dated(tmp_path, until=2)) == once
    assert calls(spec) == [0]
    assert run(dated(tmp_path, until=4)).epochs == 4


def test_a_part_that_was_killed_keeps_what_came_before_it(tmp_path: Path) -> None:
    run(dated(tmp_path, "dies once", until=2))
    last = run(dated(tmp_path, "dies once"))
    assert last.state is TrialState.COMPLETE
    assert [p.epoch for p in last.history] == [0, 1, 3, 4, 5]  # the program told nobody of epoch 2
    assert calls(dated(tmp_path, "dies once")) == [0, 2, 3]


def test_a_training_that_waits_can_be_pruned_with_its_best_value(tmp_path: Path) -> None:
    spec = dated(tmp_path, until=3)
    run(spec)
    result = runner.prune(spec, 3)
    assert (result.state, result.value, result.epochs) == (TrialState.PRUNED, 0.25, 3)
    assert runner.prune(spec, 2) == result
    assert run(dated(tmp_path)) == result
    assert calls(spec) == [0]


def test_what_has_ended_is_not_pruned(tmp_path: Path) -> None:
    spec = dated(tmp_path, "content")
    whole = run(spec)
    assert whole.stopped_early
    assert runner.prune(spec, 3) == whole
    with pytest.raises(StudyError, match="no result of trial 3"):
        runner.prune(spec.model_copy(update={"output": tmp_path / "none"}), 3)


def test_a_program_that_keeps_no_history_is_compared_by_its_value(tmp_path: Path) -> None:
    first = run(dated(tmp_path, "forgetful", until=2))
    assert [(p.epoch, p.value) for p in first.history] == [(1, 0.5)]
    assert first.best == 0.5
    last = run(dated(tmp_path, "forgetful"))
    assert [(p.epoch, p.value) for p in last.history] == [(1, 0.5)]
    assert (last.value, last.state) == (0.5**5, TrialState.COMPLETE)


def test_a_program_that_does_not_wait_is_taken_as_if_it_had(tmp_path: Path) -> None:
    first = run(dated(tmp_path, "deaf", until=2))
    assert outcome.paused(first)
    last = run(dated(tmp_path, "deaf"))
    assert (last.state, last.epochs, last.value) == (TrialState.COMPLETE, 6, 0.5**5)
    assert calls(dated(tmp_path, "deaf")) == [0]
    cut = runner.prune(dated(tmp_path, "deaf"), 2)
    assert (cut.state, cut.epochs, cut.steps, cut.value) == (TrialState.PRUNED, 2, 20, 0.5)
    assert [p.epoch for p in cut.history] == [0, 1]


def test_the_time_limit_counts_all_parts_of_a_training(tmp_path: Path) -> None:
    first = run(dated(tmp_path, "slow", until=2, walltime=1.6))
    assert outcome.paused(first)
    last = run(dated(tmp_path, "slow", walltime=1.6))
    assert last.state is TrialState.FAILED
    assert "walltime of 1.6 s" in last.reason


def test_another_replicate_is_another_training(tmp_path: Path) -> None:
    spec = table(tmp_path)
    run(spec)
    other = spec.model_copy(update={"replicate": 1, "seed": 7, "output": tmp_path / "r1"})
    assert run(other).replicate == 1
    assert not runner.same(other.model_copy(update={"output": spec.output}))


def test_data_may_move_between_two_parts(tmp_path: Path) -> None:
    spec = table(tmp_path, until=2)
    run(spec)
    elsewhere = spec.arrays.model_copy(update={"path": tmp_path / "moved.npz"})
    moved = spec.model_copy(update={"arrays": elsewhere, "budget": Budget(epochs=6)})
    assert run(moved).epochs == 6
    assert calls(spec) == [0, 2]
    # the program reads where they are now
    assert json.loads((spec.output / "trial.json").read_text())["arrays"]["path"].endswith("moved.npz")


def test_a_trainer_that_runs_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="mlp"):
        run(table(tmp_path).model_copy(update={"trainer": "mlp"}))


def test_files_of_a_command_can_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_FILES", str(tmp_path))
    spec = table(tmp_path).model_copy(update={"command": [sys.executable, "{files}/program.py"]})
    assert run(spec).state is TrialState.COMPLETE
