"""What is told before anything is trained: metrics, targets and sizes that cannot be."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from ml_suite.config import metrics
from ml_suite.config.findings import FileError
from ml_suite.errors import StudyError
from ml_suite.search import freeze, run, samples
from ml_suite.study import record, trials
from ml_suite.trainers.mlp import settings
from tests.search.studies import study

PROGRAM = """\
study: small
data: {arrays: small.npz, validation: 20%, test: 10%}
training: {trainer: command, command: ["{python}", "{files}/train.py"], files: [train.py]}
hpo:
  metric: val_loss
  direction: maximize
  space: {a: {int: [1, 9]}}
  step1: {trials: 4, subset: 20%}
  step2: {keep: 2}
"""


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))


def told(folder: Path, *changes: tuple[str, str]) -> str:
    with pytest.raises(FileError) as caught:
        freeze.freeze(study(folder, *changes), folder / "study")
    assert not (folder / "study").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("val_mse", "11:11: error: trainer mlp does not report 'val_mse'"),
        ("val_mse", "it has val_loss, train_loss, and val_loss_0, val_loss_1, ... of each target"),
        ("test_loss", "the test samples decide nothing"),
        ("val_loss_2", "11:11: error: there is no target of this number: the samples have 2"),
        ("val_loss\n  direction: maximize", "12:3: error: val_loss is better when it is smaller"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_at_once(metric: str, message: str, tmp_path: Path) -> None:
    assert message in told(tmp_path, ("metric: val_loss", f"metric: {metric}"))


def test_the_metrics_that_are_known_are_those_that_are_reported(tmp_path: Path) -> None:
    path = study(
        tmp_path,
        ("metric: val_loss", "metric: val_loss_1"),
        ("trials: 12", "trials: 2"),
        ("keep: 17%", "keep: 1"),
        (", rungs: {at: [2], cohort: 4}", ", epochs: 1"),
        ("epochs: 6", "epochs: 1"),
    )
    assert run.run(path, Event(), run.Options(tmp_path / "study")) is not None
    first = record.read(tmp_path / "study" / "step1" / "0-of-1.jsonl")
    assert set(first[0].metrics) == set(metrics.of_mlp(2))


def test_a_loss_of_a_program_that_is_to_be_large_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    said: list[str] = []
    freeze.freeze(study(tmp_path, text=PROGRAM), tmp_path / "study", said.append)
    assert "study.yaml:6:3: warning: val_loss is to be as large as possible" in said[0]
    freeze.freeze(
        study(tmp_path, ("metric: val_loss", "metric: skill"), text=PROGRAM), tmp_path / "s", said.append
    )
    assert len(said) == 1


def scaled(folder: Path, factor: float, **more: np.ndarray) -> None:
    stored = dict(np.load(folder / "small.npz"))
    stored["y"][:, 1] *= factor
    np.savez(folder / "small.npz", **stored, **more)


def test_targets_that_a_sigmoid_cannot_reach_are_found_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study(tmp_path)
    scaled(tmp_path, 100)
    with pytest.raises(FileError) as caught:
        freeze.freeze(path, tmp_path / "study")
    report = str(caught.value)
    assert (
        "study.yaml:6:1: error: the sigmoid output of trainer mlp lies between 0 and 1, and y[1] from"
        in report
    )
    assert "write `output: linear` under training, or scale these targets" in report
    scaled(tmp_path, 1, y_names=np.array(["rain", "snow"]))
    with pytest.raises(FileError, match=r"and snow from [\d.]+ to [\d.]+ does not"):
        freeze.freeze(path, tmp_path / "study")
    text = path.read_text()
    path.write_text(text.replace("epochs: 6", "epochs: 6\n  output: linear"))
    freeze.freeze(path, tmp_path / "study")
    path.write_text(text.replace("space:\n", "space:\n    output: {choice: [sigmoid, linear]}\n"))
    said: list[str] = []
    freeze.freeze(path, tmp_path / "study", said.append)
    assert "warning: the sigmoid output" in said[0]


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ([], 60),
        ([("    units: {choice: [4, 8], per: layers}\n", "    units: {choice: [4, 8]}\n")], 60),
        ([("    layers: {int: [1, 2]}\n", ""), ("choice: [4, 8], per: layers", "choice: [[4], [8, 4]]")], 60),
        (
            [
                ("    layers: {int: [1, 2]}\n", ""),
                (", per: layers", ""),
                ("batch: 32", "batch: 32\n  layers: 2"),
            ],
            70,
        ),
    ],
)
def test_a_constraint_may_ask_for_the_size_of_a_network(
    changes: list[tuple[str, str]], most: int, tmp_path: Path
) -> None:
    path = study(tmp_path, *changes, ("  space:\n", f"  constraints: [parameters <= {most}]\n  space:\n"))
    plan = freeze.freeze(path, tmp_path / "study").plan
    sizes = []
    for trial in range(plan.trials):
        chosen = settings.parse(trials.parameters(plan, trial), plan.settings)
        sizes.append(settings.parameters(settings.sizes(chosen, *plan.arrays.shape)))
    assert max(sizes) <= most
    free = freeze.freeze(study(tmp_path, *changes), tmp_path / "free").plan
    every = [settings.parse(trials.parameters(free, i), free.settings) for i in range(free.trials)]
    assert max(settings.parameters(settings.sizes(one, *free.arrays.shape)) for one in every) > most


def test_a_size_that_no_network_has_is_refused_before_anything_trains(tmp_path: Path) -> None:
    report = told(tmp_path, ("  space:\n", "  constraints: [parameters < 5]\n  space:\n"))
    assert "study.yaml:12:17: error: none of 10,000 trials that were drawn fulfils this constraint" in report


@pytest.mark.parametrize(
    ("filter_", "possible"),
    [
        ("parameters < 5", False),
        ("parameters < 100 and layers == 1", True),
        ("layers > 2", False),
        ("units[1] > 0", True),
        ("value < 0", True),
    ],
)
def test_a_filter_that_no_trial_can_fulfil_is_found_before_anything_trains(
    filter_: str, possible: bool, tmp_path: Path
) -> None:
    path = study(tmp_path, ("step2: {keep: 17%}", f"step2: {{keep: 17%, filter: '{filter_}'}}"))
    if possible:
        freeze.freeze(path, tmp_path / "study")
        return
    with pytest.raises(StudyError, match="none of the 12 trials that will be drawn fulfils the filter"):
        freeze.freeze(path, tmp_path / "study")


def test_the_size_of_what_a_program_trains_is_not_known_before(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    with pytest.raises(FileError) as caught:
        freeze.freeze(
            study(tmp_path, ("  space:", "  constraints: [parameters < 5]\n  space:"), text=PROGRAM)
        )
    assert "nothing is called 'parameters'" in str(caught.value)
    assert "only trainer mlp knows it before a trial runs: ask for it in step2.filter" in str(caught.value)


def test_samples_are_not_made_for_a_look(tmp_path: Path) -> None:
    path = study(tmp_path, ("arrays: small.npz", "arrays: other.npz\n  make: [touch, '{arrays}']"))
    with pytest.raises(samples.Unmade, match=r"the samples are not made yet: .*other\.npz is missing"):
        freeze.freeze(path, tmp_path / "study", make=False)
    assert not (tmp_path / "other.npz").exists()
    with pytest.raises(StudyError, match="cannot be read"):
        freeze.freeze(path, tmp_path / "study")
