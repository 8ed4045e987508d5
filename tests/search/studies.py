"""Small studies: samples, files, plans."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ml_suite.study import planning
from ml_suite.study.arrays import ArrayPlan, Arrays, Members

TEXT = """\
study: small
data:
  arrays: small.npz
  validation: 20%
  test: 10%
training:
  epochs: 6
  batch: 32
  workers: 2
hpo:
  metric: val_loss
  space:
    layers: {int: [1, 2]}
    units: {choice: [4, 8], per: layers}
    learning_rate: {log: [1e-4, 1e-1]}
  step1: {trials: 12, subset: 20%, rungs: {at: [2], cohort: 4}}
  step2: {keep: 17%}
"""


def samples(path: Path, count: int = 600) -> Path:
    """A smooth function of three inputs."""
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(count, 3)).astype(np.float32)
    y = 1 / (1 + np.exp(-x[:, :2] * x[:, 1:]))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=x, y=y.astype(np.float32))
    return path


def study(folder: Path, *changes: tuple[str, str], text: str = TEXT) -> Path:
    """A study file with its samples; CHANGES replace parts of the text."""
    samples(folder / "small.npz")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def plan(**changes: Any) -> ArrayPlan:
    """A plan for stages that a stand-in trains."""
    fields: dict[str, Any] = {
        "study": "",
        "suite": "s",
        "metric": "m",
        "direction": "minimize",
        "seed": 0,
        "space": {"quality": {"float": [0.0, 1.0]}},
        "trials": 8,
        "keep": 2,
        "subset": 0.1,
        "shards": 1,
        "epochs": {"step1": 4, "step2": 4},
        "trainer": "mlp",
        "software": {},
        "arrays": Arrays(path=Path("/a"), inputs="x", targets="y", sha256="0", samples=9, shape=(3, 2)),
        "members": {
            name: Members(count=1, sha256="0", path=Path(f"members/{name}.npy"))
            for name in ("training", "subset", "validation", "test")
        },
        "normalisation": "none",
        "precision": {"step1": "fp32", "step2": "fp32"},
        "settings": {},
    }
    return planning.identified(ArrayPlan(**{**fields, **changes}))


def standin(folder: Path) -> Path:
    """An environment whose python is the stand-in worker."""
    python = folder / "standin" / "bin" / "python"
    python.parent.mkdir(parents=True)
    worker = Path(__file__).with_name("standin.py")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{worker}" "$@"\n')
    python.chmod(0o755)
    return python.parents[1]
