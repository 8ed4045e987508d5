"""Real trainings that wait, that end early, and that read blocks of the training period."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from ml_suite.study.contract import Budget, HistoryPoint, Span, TrialState
from ml_suite.trainers import outcome
from ml_suite.trainers.callback import BEST
from ml_suite.trainers.stopping import best, exhausted
from tests.trainers.storm import Storm
from tests.trainers.test_anemoi import run


def points(*values: float | None, steps: int = 3) -> list[HistoryPoint]:
    return [HistoryPoint(epoch=i, step=steps * (i + 1), value=v) for i, v in enumerate(values)]


def test_patience_counts_steps_since_the_best_value() -> None:
    assert not exhausted([], 1, "minimize")
    assert not exhausted(points(0.5, 0.6), 4, "minimize")
    assert exhausted(points(0.5, 0.6), 3, "minimize")
    assert not exhausted(points(0.5, 0.6), 3, "maximize")
    assert exhausted(points(None, None), 6, "minimize")
    assert not exhausted(points(0.5, None, 0.4), 3, "minimize")


def test_of_equal_values_the_first_is_the_best() -> None:
    known = best(points(0.5, 0.4, 0.4), "minimize")
    assert known is not None
    assert known.epoch == 1
    assert best(points(None), "minimize") is None


def written_at(checkpoint: Path) -> int:
    """Optimiser step at which weights were written."""
    with zipfile.ZipFile(checkpoint) as archive:
        name = next(n for n in archive.namelist() if n.endswith("anemoi.json"))
        return int(json.loads(archive.read(name))["training"]["global_step"])


@pytest.mark.anemoi
def test_a_training_that_waited_twice_ends_with_the_same_value(step1: Storm, tmp_path: Path) -> None:
    whole = step1.variant(tmp_path / "whole", budget=Budget(epochs=6))
    pauses = (2, 4, None)
    parts = [step1.variant(tmp_path / "parts", budget=Budget(epochs=6, until=until)) for until in pauses]
    uninterrupted, *_, last = run(step1, tmp_path, whole, *parts)
    assert last.state is TrialState.COMPLETE
    assert last.history == uninterrupted.history
    assert (last.value, last.metrics) == (uninterrupted.value, uninterrupted.metrics)
    assert (last.epochs, last.steps) == (uninterrupted.epochs, uninterrupted.steps) == (6, 18)
    log = (tmp_path / "parts" / "log.txt").read_text()
    assert log.count("Resuming training from last checkpoint") == 2


@pytest.mark.anemoi
def test_a_training_waits_with_what_it_is_compared_by(step1: Storm, tmp_path: Path) -> None:
    (result,) = run(step1, tmp_path, step1.variant(tmp_path / "t", budget=Budget(epochs=4, until=1)))
    assert outcome.paused(result)
    assert [p.epoch for p in result.history] == [0]
    assert (result.best, result.epochs) == (result.history[0].value, 1)
    # the schedule is that of the whole training, so it is not the one-epoch trial of step 1
    assert result.value != next(r for r in step1.records(1) if r.trial == 0).value


@pytest.mark.anemoi
def test_a_training_without_a_better_value_ends_early_and_keeps_its_best_weights(
    step1: Storm, tmp_path: Path
) -> None:
    # the loss falls, so the first of its values is the greatest one
    spec = step1.variant(tmp_path / "t", budget=Budget(epochs=6, patience=6), direction="maximize")
    (result,) = run(step1, tmp_path, spec)
    assert result.state is TrialState.COMPLETE
    assert result.stopped_early
    assert (result.epochs, result.steps) == (3, 9)
    assert result.value == result.best == result.history[0].value
    assert result.checkpoint is not None
    assert result.checkpoint.path.name == BEST
    assert written_at(result.checkpoint.path) == 3
    # killed just before it could say so
    events = spec.output / "metrics.jsonl"
    events.write_text("".join(f"{line}\n" for line in events.read_text().splitlines()[:-1]))
    (spec.output / "result.json").unlink()
    (again,) = run(step1, tmp_path, spec)
    assert (again.history, again.value, again.stopped_early) == (result.history, result.value, True)
    assert again.checkpoint is not None
    assert again.checkpoint.sha256 == result.checkpoint.sha256
    assert "Resuming training from last checkpoint" in (spec.output / "log.txt").read_text()


@pytest.mark.anemoi
def test_a_training_reads_blocks_and_no_sample_across_their_ends(step1: Storm, tmp_path: Path) -> None:
    blocks = [
        Span(start=datetime(1996, 1, 5), end=datetime(1996, 1, 6, 18)),
        Span(start=datetime(1996, 1, 11), end=datetime(1996, 1, 12, 18)),
    ]
    whole = Span(start=blocks[0].start, end=blocks[1].end)
    spec = step1.variant(tmp_path / "t", training=whole, blocks=blocks, samples=12)
    (result,) = run(step1, tmp_path, spec)
    assert result.state is TrialState.COMPLETE, result.reason
    assert [p.step for p in result.history] == [3]  # 12 samples in batches of 4
    assert "MultiDataset has 12 valid anchors" in (spec.output / "log.txt").read_text()
