"""Real trainings on the storm data with the real anemoi-training."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import zipfile
from pathlib import Path
from threading import Event

import pytest

from ml_suite.errors import StudyError
from ml_suite.study.contract import Budget, Selection, Span, TrialResult, TrialSpec, TrialState
from ml_suite.trainers import runner, settings
from tests.trainers.storm import METRIC, Storm

pytestmark = pytest.mark.anemoi

LR = "training.optimization.lr"


def run(storm: Storm, folder: Path, *specs: TrialSpec) -> list[TrialResult]:
    """Run variants in one process of the training environment."""
    words = []
    for i, spec in enumerate(specs):
        spec.save(folder / f"{i}.json")
        words.append(str(folder / f"{i}.json"))
    storm.succeed("-m", "tests.trainers.run_specs", *words)
    return [TrialResult.load(spec.output / "result.json") for spec in specs]


def uuid_inside(checkpoint: Path) -> str:
    with zipfile.ZipFile(checkpoint) as z:
        name = next(n for n in z.namelist() if n.endswith("anemoi.json"))
        return str(json.loads(z.read(name))["uuid"])


def test_the_plan_counts_what_anemoi_counts(step1: Storm) -> None:
    plan = step1.plan
    assert plan.samples == {"training": 39, "subset": 10, "validation": 6, "test": 6}
    assert plan.overrides[LR] == 0.005
    assert plan.overrides["dataloader.batch_size.training"] == 4
    assert plan.software["anemoi-training"]
    log = (step1.tree.trial(1, 0) / "log.txt").read_text()
    assert "MultiDataset has 10 valid anchors" in log
    assert "MultiDataset has 6 valid anchors" in log


def test_step_1_leaves_values_and_weights(step1: Storm) -> None:
    results = step1.records(1)
    assert [(r.trial, r.state) for r in results] == [(i, TrialState.COMPLETE) for i in range(3)]
    assert len({r.value for r in results}) == 3
    for r in results:
        assert r.effective_lr == pytest.approx(r.params[LR])
        assert r.global_batch == 4
        assert [p.step for p in r.history] == [3]  # 10 samples in batches of 4
        assert r.checkpoint is not None
        assert r.checkpoint.sha256 == hashlib.sha256(r.checkpoint.path.read_bytes()).hexdigest()
        assert r.checkpoint.uuid == uuid_inside(r.checkpoint.path)
        assert r.metrics[METRIC] == r.value
    # more channels, more parameters
    sizes = {r.params["model.num_channels"]: r.parameters or 0 for r in results}
    assert sorted(sizes.values()) == [sizes[c] for c in sorted(sizes)]


def test_step_2_on_two_replicas_is_the_same_configuration_on_more_data(step1: Storm) -> None:
    for verb in (["shortlist"], ["retrain", "--rank", "1"], ["select"]):
        step1.succeed("study", *verb)
    winner = Selection.load(step1.tree.selection)
    before = next(r for r in step1.records(1) if r.trial == winner.trial)
    after = winner.result
    assert after.params == before.params
    assert after.effective_lr == pytest.approx(before.effective_lr, rel=1e-12)
    assert after.global_batch == before.global_batch == 4
    # 19 samples a replica in batches of 2, twice
    assert [p.step for p in after.history] == [10, 20]
    log = (step1.tree.trial(2, winner.trial) / "log.txt").read_text()
    assert "MultiDataset has 39 valid anchors" in log
    assert "MEMBER: 2/2" in log
    assert winner.step1_value == before.value
    calls = len(list(step1.tree.trial(2, winner.trial).glob("training/checkpoint/*/inference-last.ckpt")))
    step1.succeed("study", "retrain", "--rank", "1")
    assert (
        calls
        == len(list(step1.tree.trial(2, winner.trial).glob("training/checkpoint/*/inference-last.ckpt")))
        == 1
    )


def test_the_stock_command_gives_the_same_value(step1: Storm, tmp_path: Path) -> None:
    """Step 1 ran in copies of one process; this one is the command line, from another environment."""
    result = runner.run(step1.variant(tmp_path / "t"), Event())
    known = next(r for r in step1.records(1) if r.trial == 0)
    assert result.value == known.value
    assert result.metrics == known.metrics


def test_what_can_go_wrong_in_a_training_is_told(step1: Storm, tmp_path: Path) -> None:
    base = step1.variant(tmp_path / "base")
    huge, unknown, silent, early, fine = run(
        step1,
        tmp_path,
        step1.variant(tmp_path / "huge", params={**base.params, LR: 1e12}),
        step1.variant(tmp_path / "unknown", params={**base.params, "model.no_such_key": 1}),
        step1.variant(tmp_path / "silent", metric="val_loss"),
        step1.variant(
            tmp_path / "early", training=Span.model_validate({"start": "1990-01-01", "end": "1990-01-02"})
        ),
        step1.variant(tmp_path / "fine"),
    )
    assert huge.state is TrialState.DIVERGED
    assert huge.value is None
    assert unknown.state is TrialState.FAILED
    assert "no_such_key" in unknown.reason
    assert silent.state is TrialState.FAILED
    assert silent.reason.startswith("the training never reported the metric 'val_loss'; it reported")
    assert METRIC in silent.reason
    assert early.state is TrialState.FAILED
    assert early.reason
    assert fine.state is TrialState.COMPLETE
    assert fine.value == next(r for r in step1.records(1) if r.trial == 0).value


@pytest.mark.parametrize("how", ["SIGTERM to the training", "SIGTERM to the job", "kill -9 of the job"])
def test_a_stopped_training_goes_on_and_ends_with_the_same_value(
    step1: Storm, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, how: str
) -> None:
    budget = Budget(epochs=12)
    whole = tmp_path_factory.getbasetemp() / "whole-training"
    spec = step1.variant(tmp_path / "stopped", budget=budget)
    job_file = tmp_path / "0.json"
    spec.save(job_file)
    job = step1.start("-m", "tests.trainers.run_specs", str(job_file))
    folder = spec.output
    until = time.monotonic() + 120
    while not list(folder.glob("training/checkpoint/*/last.ckpt")):
        assert job.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    pid = json.loads((folder / "process.json").read_text())["pid"]
    target = pid if how == "SIGTERM to the training" else job.pid
    number = signal.SIGKILL if how.startswith("kill -9") else signal.SIGTERM
    os.kill(target, number)
    job.communicate(timeout=60)
    if number is signal.SIGTERM:
        stopped = TrialResult.load(folder / "result.json")
        assert stopped.state is TrialState.PREEMPTED
        assert stopped.value is None
    else:
        assert not (folder / "result.json").exists()
    (resumed,) = run(step1, tmp_path, spec)
    (uninterrupted,) = run(step1, tmp_path, step1.variant(whole, budget=budget))
    assert resumed.state is TrialState.COMPLETE
    assert [p.epoch for p in resumed.history] == list(range(12))
    assert resumed.history == uninterrupted.history
    assert resumed.value == uninterrupted.value
    assert len(list(folder.glob("training/checkpoint/*"))) == 1  # the same run
    assert "Resuming training from last checkpoint" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.no_such_key": 1}, "has no key model.no_such_key"),
        ({"training.max_epochs": "many"}, "refuses .*max_epochs"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_by_the_plan(
    repository: Path, anemoi_python: Path, overrides: dict[str, object], message: str
) -> None:
    config = repository / "suites" / "demo" / "training" / "storm.yaml"
    with pytest.raises(StudyError, match=message):
        settings.read(config, overrides, anemoi_python.parent.parent)
