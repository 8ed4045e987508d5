"""A deployment that is valid, to break in one place at a time."""

from __future__ import annotations

import pytest

VALID = """\
suite: aifs
dataset: {recipe: recipes/r.yaml}
training:
  config: training/t.yaml
  resources: {gpus: 4, walltime: 12h}
hpo:
  metric: val
  space:
    training.optimization.lr: {log: [1e-5, 1e-3]}
    model.num_channels: {choice: [256, 512]}
  step1: {trials: 20, subset: 5%}
  step2: {keep: 5%}
hosts:
  a: {limit: 8}
outputs: {checkpoints: s3://bucket/prefix}
"""


@pytest.fixture
def valid() -> str:
    """Text of a deployment without errors."""
    return VALID
