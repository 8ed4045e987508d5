"""The study file: what it may say, and where errors point."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.config import study_file
from ml_suite.config.findings import FileError

TEXT = """\
study: small
data:
  arrays: data/small.npz
  validation: 20%
  test: 10%
training:
  epochs: 20
  batch: 64
hpo:
  metric: val_loss
  space:
    layers: {int: [1, 2]}
    units: {choice: [8, 16], per: layers}
  step1: {trials: 8, subset: 25%}
  step2: {keep: 25%}
"""


def parsed(tmp_path: Path, text: str = TEXT) -> study_file.StudyFile:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return study_file.parse(path)[0]


def test_a_study_file_and_its_defaults(tmp_path: Path) -> None:
    study = parsed(tmp_path)
    assert (study.training.trainer, study.data.inputs, study.data.targets) == ("mlp", "x", "y")
    assert study.training.settings == {"batch": 64}
    assert study.arrays(tmp_path) == tmp_path / "data/small.npz"


def test_places_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.delenv("ML_SUITE_ENVIRONMENT", raising=False)
    study = parsed(tmp_path, TEXT.replace("data/small.npz", '"{cache}/data/small.npz"'))
    assert study.arrays(tmp_path) == Path("/cache/ml-suite/data/small.npz")
    assert study.environment(tmp_path) == Path("/cache/ml-suite/anemoi")


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("batch: 64", "bach: 64", "8:3", "unknown key 'bach'"),
        ("batch: 64", "batch: 0", "8:10", "this must be more than 0"),
        ("batch: 64", "layers: 2", "8:3", "'layers' is fixed here and searched in hpo.space"),
        ("batch: 64", "command: [a]", "8:3", "trainer mlp does not use 'command'"),
        ("batch: 64", "trainer: command", "6:1", "trainer command needs 'command'"),
        ("epochs: 20", "trainer: command", "8:3", "trainer command does not use 'batch'"),
        ("data/small.npz", '"{work}/a"', "3:11", "{work} has no meaning; here may stand {cache}"),
        ("validation: 20%", "validation: 95%", "4:15", "leave nothing to train on"),
        ("keep: 25%", "keep: 5%", "15:17", "less than one"),
        ("subset: 25%", "subset: 25%, shards: 2", "14:35", "a study file does not use 'shards'"),
        (
            "subset: 25%",
            "subset: 25%, rungs: {at: [4, 20]}",
            "14:51",
            "a trial has 20 epochs, so that it cannot be cut after 20",
        ),
        (
            "keep: 25%",
            "keep: 25%, rungs: {at: [4, 8]}, finalists: 2, replicates: 2",
            "15:54",
            "2 finalists cannot be chosen of 1 candidates that rungs leave of 2",
        ),
        ("keep: 25%", "keep: 25%, rungs: {at: [20]}", "15:35", "a candidate has 20 epochs"),
        ("keep: 25%", "keep: 25%, rungs: {at: [4], cohort: 8}", "15:39", "unknown key 'cohort'"),
        ("epochs: 20", "trainer: command\n  command: ['{files}/a.py']", "8:13", "a.py is not under"),
        ("epochs: 20", "trainer: command\n  files: [a.py]\n  command: [x]", "8:11", "there is no file a.py"),
    ],
)
def test_errors_point_at_the_place(old: str, new: str, place: str, message: str, tmp_path: Path) -> None:
    text = TEXT.replace(old, new)
    if "\n" in new:
        text = text.replace("  batch: 64\n", "")
    with pytest.raises(FileError) as caught:
        parsed(tmp_path, text)
    report = str(caught.value)
    assert f"study.yaml:{place}: error: " in report
    assert message in report


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="3 errors in"):
        parsed(
            tmp_path,
            TEXT.replace("20%", "20").replace("batch: 64", "bach: 64").replace("keep: 25%", "keep: 5%"),
        )
