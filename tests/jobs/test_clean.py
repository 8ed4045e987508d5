"""What clean removes, and above all what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.jobs import clean
from ml_suite.layout import WorkTree
from tests.jobs.study_rig import NAME, make


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> WorkTree:
    return WorkTree(tmp_path / "work", "rig")


def test_training_state_goes_and_weights_stay(tree: WorkTree, tmp_path: Path) -> None:
    folder = tree.trial(2, 3)
    goes = [
        touch(folder / "training/checkpoint/run/last.ckpt"),
        touch(folder / "training/checkpoint/run/epoch_1.ckpt"),
    ]
    touch(folder / "training/checkpoint/run/inference-last.ckpt")
    touch(folder / "result.json")
    touch(folder / "log.txt")
    assert clean.disposable(tree, NAME) == sorted(goes)


def test_a_trial_without_a_result_keeps_everything(tree: WorkTree) -> None:
    touch(tree.trial(1, 0) / "training/checkpoint/run/last.ckpt")
    assert clean.disposable(tree, NAME) == []


def test_links_are_never_followed(tree: WorkTree, tmp_path: Path) -> None:
    outside = touch(tmp_path / "precious" / "last.ckpt")
    folder = tree.trial(1, 0)
    touch(folder / "result.json")
    (folder / "checkpoint").symlink_to(outside.parent)
    (folder / "last.ckpt").symlink_to(outside)
    (tree.evaluation).mkdir(parents=True)
    (tree.evaluation / "incumbent").symlink_to(outside.parent)
    assert clean.disposable(tree, NAME) == []


def test_the_work_folder_of_a_build_goes_only_when_the_store_is_finished(tree: WorkTree) -> None:
    partial = touch(tree.build(NAME).with_name(f"{NAME}.zarr.work_dir") / "statistics" / "1.npz")
    store = touch(tree.build(NAME) / ".zattrs")
    assert clean.disposable(tree, NAME) == []
    touch(store.parent.with_name(f"{NAME}.zarr.manifest.jsonl"))
    assert clean.disposable(tree, NAME) == [partial]


def test_nothing_goes_before_the_weights_are_registered(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    rig = make(tmp_path, monkeypatch)
    folder = rig.job.tree.trial(2, 0)
    state = touch(folder / "checkpoint" / "last.ckpt")
    touch(folder / "result.json")
    with pytest.raises(StudyError, match="not registered"):
        clean.run(rig.job, [])
    assert state.exists()
    touch(rig.job.tree.registered)
    clean.run(rig.job, [])
    assert not state.parent.exists()
    assert (folder / "result.json").exists()
    assert "removed suites/rig/once/study/step2/trials/00000/checkpoint/last.ckpt" in capsys.readouterr().out
    clean.run(rig.job, [])
    assert "removed 0 files" in capsys.readouterr().out
