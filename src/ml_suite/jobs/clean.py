"""Task clean: remove what is neither needed nor worth keeping, file by file and by name.

- training state of finished trials (``last.ckpt`` and the epochs' checkpoints; the weights for inference stay);
- the downloaded weights that the winner was compared with;
- what a dataset's build leaves beside a finished store.

Symbolic links are never followed. A trial without a result keeps everything: it may go on.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from ml_suite.errors import StudyError
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.layout import WorkTree
from ml_suite.quantities import format_bytes
from ml_suite.stores.manifest import path_for


def run(job: Job, arguments: list[str]) -> None:
    """Remove and tell what was removed."""
    argparse.ArgumentParser(prog="clean").parse_args(arguments)
    tree = job.tree
    if not tree.registered.exists():
        raise StudyError(
            "the weights are not registered yet: nothing is removed", "Run the task register first."
        )
    size = 0
    names = disposable(tree, job.deployment.dataset_name)
    for path in names:
        size += path.stat(follow_symlinks=False).st_size
        path.unlink()
        print(f"removed {path.relative_to(tree.work)}")
    _remove_empty(names, tree)
    words = f"removed {len(names)} files, {format_bytes(size)}"
    print(words)
    callback.label("info", words)


def disposable(tree: WorkTree, dataset: str) -> list[Path]:
    """Regular files that can go, sorted."""
    found: list[Path] = []
    for folder in ("step*", "pilot/*"):
        for result in tree.study.glob(f"{folder}/trials/*/result.json"):
            found += (path for path in _files(result.parent) if _is_training_state(path))
    found += (path for path in _files(tree.evaluation / "incumbent") if path.suffix == ".ckpt")
    store = tree.build(dataset)
    if path_for(store).exists():
        found += _files(store.with_name(f"{store.name}.work_dir"))
    return sorted(found)


def _is_training_state(path: Path) -> bool:
    return path.suffix == ".ckpt" and not path.name.startswith("inference-")


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder; a link is neither followed nor named, and a linked folder has none."""
    if folder.is_symlink():
        return
    for where, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _remove_empty(removed: list[Path], tree: WorkTree) -> None:
    """Remove folders that are empty now."""
    for folder in sorted({path.parent for path in removed}, reverse=True):
        while folder != tree.work and folder.is_relative_to(tree.work) and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
