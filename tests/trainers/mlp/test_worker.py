"""Real trainings in the training environment."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml_suite.study.contract import TrialState
from ml_suite.trainers import outcome
from ml_suite.trainers.mlp import files, predict, settings
from ml_suite.trainers.mlp.protocol import Answer, Setup
from tests.trainers.mlp.workers import Worker, order

pytestmark = pytest.mark.anemoi

DEEP = {"layers": 4, "units": [64, 128, 64, 64]}
NAMES = {"val_loss", "train_loss", "test_loss", *(f"{p}_loss_{i}" for p in ("val", "test") for i in range(3))}


def numbers(answer: Answer) -> dict[str, object]:
    """An answer without what is measured by clocks."""
    told = answer.model_dump(exclude={"trial", "seconds", "cpu_seconds", "inference_seconds", "checkpoint"})
    return told


def test_a_training_learns_and_tells_what_it_did(worker: Worker) -> None:
    answer = worker.train(order(trial=4, replicate=1, epochs=40, test=True))
    assert (answer.trial, answer.replicate, answer.state) == (4, 1, TrialState.COMPLETE)
    values = [point.value for point in answer.history]
    assert answer.value == answer.best == min(v for v in values if v is not None)
    assert answer.value < 0.5 * (values[0] or 0)
    assert (answer.epochs, answer.steps, len(values)) == (40, 40 * 3, 40)
    assert [(p.epoch, p.step) for p in answer.history[:2]] == [(0, 3), (1, 6)]
    assert answer.parameters == settings.parameters((6, 32, 16, 3))
    assert set(answer.metrics) == NAMES
    assert answer.metrics["val_loss"] == answer.value
    assert answer.value == pytest.approx(np.mean([answer.metrics[f"val_loss_{i}"] for i in range(3)]))
    assert 0 < (answer.inference_seconds or 0) < 1e-2


def test_the_same_seed_gives_the_same_result_whatever_was_trained_before(
    worker: Worker, second: Worker
) -> None:
    first = worker.train(order(params=DEEP))
    worker.train(order(params={"layers": 1, "units": 300, "learning_rate": 3.0}))
    worker.train(order(params={"layers": 9, "units": 24}, seed=8))
    again = worker.train(order(params=DEEP))
    elsewhere = second.train(order(params=DEEP))
    assert numbers(first) == numbers(again) == numbers(elsewhere)
    assert worker.train(order(params=DEEP, seed=8)).value != first.value


def test_another_setup_is_as_good_as_another_worker(
    start: Callable[..., Worker], setup: Setup, worker: Worker
) -> None:
    other = setup.model_copy(update={"precision": "bf16" if setup.precision == "fp32" else "fp32"})
    moved = start(other)
    moved.train(order(params=DEEP, seed=3))
    moved.ask(setup)
    assert numbers(moved.train(order(params=DEEP))) == numbers(worker.train(order(params=DEEP)))
    moved.ask(setup.model_copy(update={"normalisation": Path("/no/such.npz")}))
    code, told = moved.end()
    assert (code, told.splitlines()[-1][:6]) == (2, "error:")


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_a_paused_training_goes_on_bit_for_bit(
    kind: str, worker: Worker, second: Worker, half: Worker, tmp_path: Path
) -> None:
    one, other = (worker, second) if kind == "fp32" else (half, half)
    whole = one.train(order(params=DEEP, epochs=9, test=True, weights=tmp_path / "whole.npz"))
    state = tmp_path / "state"
    parts = {"params": DEEP, "epochs": 9, "test": True, "state": state, "weights": tmp_path / "parts.npz"}
    paused = one.train(order(until=2, **parts))
    assert paused.paused
    assert paused.history == whole.history[:2]
    assert state.exists()
    one.train(order(params={"layers": 3, "units": 70}, seed=1))
    assert other.train(order(until=5, **parts)).paused
    ended = other.train(order(**parts))
    assert not ended.paused
    assert numbers(ended) == numbers(whole)
    assert ended.seconds > paused.seconds
    assert not state.exists()
    (left, these), (right, those) = (files.load_weights(tmp_path / f"{n}.npz") for n in ("whole", "parts"))
    assert left == right
    assert all(np.array_equal(these[name], those[name]) for name in these)


def test_a_state_that_is_torn_or_of_another_training_is_not_used(worker: Worker, tmp_path: Path) -> None:
    whole, state = worker.train(order()), tmp_path / "state"
    worker.train(order(seed=1, until=2, state=state))
    assert numbers(worker.train(order(state=state))) == numbers(whole)
    worker.train(order(until=2, state=state))
    state.write_bytes(state.read_bytes()[:-200])
    assert numbers(worker.train(order(state=state))) == numbers(whole)


def test_patience_counts_optimiser_steps(worker: Worker) -> None:
    # a rate at which the first epochs are the best
    wild = {"layers": 2, "units": 32, "learning_rate": 0.5}
    free, patient = (
        worker.train(order(params=wild, epochs=30)),
        worker.train(order(params=wild, epochs=30, patience=9)),
    )
    assert patient.stopped_early
    assert patient.state is TrialState.COMPLETE
    assert patient.history == free.history[: len(patient.history)]
    values = [p.value if p.value is not None else math.inf for p in patient.history]
    best = values.index(min(values))
    assert patient.history[-1].step - patient.history[best].step == 9
    assert not free.stopped_early


def test_a_pause_does_not_hide_that_patience_has_ended(worker: Worker, tmp_path: Path) -> None:
    wild = {"layers": 2, "units": 32, "learning_rate": 0.5}
    whole = worker.train(order(params=wild, epochs=30, patience=9))
    at = len(whole.history)
    parts = {"params": wild, "epochs": 30, "patience": 9, "state": tmp_path / "state"}
    assert numbers(worker.train(order(until=at, **parts))) == numbers(whole)
    worker.train(order(until=at - 1, **parts))
    assert numbers(worker.train(order(**parts))) == numbers(whole)


def test_the_best_weights_are_kept_not_the_last(worker: Worker, setup: Setup, tmp_path: Path) -> None:
    lively = {"layers": 2, "units": 64, "learning_rate": 0.05, "batch": 32}
    answer = worker.train(order(params=lively, epochs=12, test=True, weights=tmp_path / "w.npz"))
    assert answer.value != answer.history[-1].value
    truth, predicted = predict.pairs(tmp_path / "w.npz", setup, "validation")
    assert ((truth - predicted) ** 2).mean() == pytest.approx(answer.value, rel=1e-4)
    truth, predicted = predict.pairs(tmp_path / "w.npz", setup)
    assert ((truth - predicted) ** 2).mean() == pytest.approx(answer.metrics["test_loss"], rel=1e-4)
    assert answer.checkpoint == outcome.checkpoint(tmp_path / "w.npz")


def test_a_metric_of_one_output_can_be_optimised(worker: Worker) -> None:
    answer = worker.train(order(metric="val_loss_1"))
    assert answer.value == answer.metrics["val_loss_1"]
    upward = worker.train(order(metric="val_loss_1", direction="maximize"))
    assert upward.value == max(p.value or 0 for p in upward.history)


def test_an_absent_metric_fails_with_the_names_that_there_are(worker: Worker) -> None:
    answer = worker.train(order(metric="val_mae"))
    assert answer.state is TrialState.FAILED
    assert answer.reason.startswith(f"{outcome.ABSENT} 'val_mae'; it reported train_loss, val_loss")


def test_a_training_that_explodes_has_diverged_at_once(worker: Worker) -> None:
    params = {"layers": 3, "units": 64, "learning_rate": 1e38, "output": "linear"}
    answer = worker.train(order(params=params, epochs=50))
    assert answer.state is TrialState.DIVERGED
    assert answer.value is None
    assert len(answer.history) <= 2
    assert answer.history[-1].value is None
    assert "in epoch" in answer.reason


def test_a_training_that_takes_too_long_has_failed(worker: Worker) -> None:
    answer = worker.train(order(epochs=100_000, walltime=0.3))
    assert answer.state is TrialState.FAILED
    assert answer.reason == f"{outcome.LATE} its walltime of 0.3 s"
    assert answer.seconds < 5


def test_a_network_that_does_not_fit_in_memory_costs_no_other(worker: Worker) -> None:
    before = worker.train(order())
    answer = worker.train(order(params={"layers": 2, "units": 2_000_000}))
    assert answer.state is TrialState.FAILED
    assert answer.reason.startswith("out of memory")
    assert numbers(worker.train(order())) == numbers(before)


def test_an_impossible_hyperparameter_costs_no_other(worker: Worker) -> None:
    answer = worker.train(order(params={"layers": 2, "units": [8]}))
    assert (answer.state, answer.reason) == (
        TrialState.FAILED,
        "trainer mlp: units has 1 widths for 2 layers",
    )
    assert worker.train(order()).state is TrialState.COMPLETE


def test_a_worker_that_is_told_to_stop_answers_first(start: Callable[..., Worker], setup: Setup) -> None:
    busy = start(setup)
    busy.train(order())
    busy.ask(order(trial=9, epochs=1_000_000))
    with pytest.raises(TimeoutError):
        _wait_for_answer(busy, 0.5)
    busy.stop()
    answer = busy.hear()
    assert (answer.trial, answer.state) == (9, TrialState.PREEMPTED)
    assert busy.end()[0] == 0
    idle = start(setup)
    idle.train(order())
    idle.stop()
    assert idle.process.wait(30) == 0


def _wait_for_answer(worker: Worker, seconds: float) -> None:
    import select

    ready, _, _ = select.select([worker.process.stdout], [], [], seconds)
    if not ready:
        raise TimeoutError


def test_a_worker_whose_study_was_killed_ends(setup: Setup, anemoi_python: Path, repository: Path) -> None:
    reads, writes = os.pipe()  # the worker's input stays open when its study is killed
    begin = "import subprocess, sys; p = subprocess.Popen(sys.argv[2:], stdin=int(sys.argv[1]))"
    begin += "; print(p.pid, flush=True); p.wait()"
    worker = [str(anemoi_python), "-m", "ml_suite.trainers.mlp.worker"]
    study = subprocess.Popen(
        [sys.executable, "-c", begin, str(reads), *worker],
        pass_fds=[reads],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"},
    )
    assert study.stdout
    pid = int(study.stdout.readline())
    said = [setup, order(), order(epochs=10_000_000)]
    os.write(writes, "".join(document.model_dump_json() + "\n" for document in said).encode())
    assert Answer.model_validate_json(study.stdout.readline()).state is TrialState.COMPLETE
    study.kill()
    study.wait()
    end = time.monotonic() + 20
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _runs(pid)
    study.stdout.close()
    os.close(reads)
    os.close(writes)


def _runs(pid: int) -> bool:
    """Whether the process is there, and not only its name because nobody asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_targets_that_a_sigmoid_cannot_reach_are_told(
    start: Callable[..., Worker], setup: Setup, tmp_path: Path
) -> None:
    with np.load(setup.arrays.path) as z:
        np.savez(tmp_path / "table.npz", x=z["x"], y=10 * z["y"])
    wide = start(setup, arrays=setup.arrays.model_copy(update={"path": tmp_path / "table.npz"}))
    answer = wide.train(order())
    assert answer.state is TrialState.FAILED
    assert "a sigmoid only from 0 to 1" in answer.reason
    linear = {"layers": 2, "units": 32, "output": "linear"}
    assert wide.train(order(params=linear)).state is TrialState.COMPLETE


def test_samples_that_changed_since_the_plan_are_refused(start: Callable[..., Worker], setup: Setup) -> None:
    wrong = start(setup, arrays=setup.arrays.model_copy(update={"samples": 5}))
    code, words = wrong.end()
    assert code == 2
    assert words.splitlines()[-1].startswith("error: ")
    assert "the study was planned with 5 samples" in words


def test_bf16_ranks_networks_as_fp32_does(half: Worker, worker: Worker) -> None:
    draw = np.random.default_rng(2)
    pairs = []
    for trial in range(12):
        params = {"units": [int(u) for u in draw.choice([8, 64, 128, 256], draw.integers(1, 5))]}
        pairs.append(
            [
                w.train(order(trial, params=params, seed=trial, epochs=15)).value or math.nan
                for w in (half, worker)
            ]
        )
    ours, theirs = np.array(pairs).T
    assert np.abs(np.log10(ours / theirs)).max() < 0.05
    assert np.corrcoef(ours.argsort().argsort(), theirs.argsort().argsort())[0, 1] > 0.9
    assert (ours != theirs).any()
