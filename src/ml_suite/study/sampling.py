"""Random sampling without a coordinator: trial *i* is a pure function of (seed, i).

Each hyperparameter gets its own uniform number: the first 53 bits of SHA-256 over the text ``SEED/TRIAL/NAME``, as a
fraction. So any shard on any host can draw any trial, the same in every version of Python, more trials can be added
later, and adding a hyperparameter does not change the values of the others.

>>> uniform(0, 3, "training.optimization.lr")
0.8316543328798145
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ml_suite.config.hpo import Dimension
from ml_suite.study import space

_BITS = 53


def uniform(seed: int, trial: int, name: str) -> float:
    """Draw the number of [0, 1) that belongs to a hyperparameter of a trial."""
    digest = hashlib.sha256(f"{seed}/{trial}/{name}".encode()).digest()
    return float((int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS))


def draw(dimensions: Mapping[str, Dimension], seed: int, trial: int) -> dict[str, Any]:
    """Hyperparameters of a trial, by dotted key in the order of the space."""
    return {name: space.value(given, uniform(seed, trial, name)) for name, given in dimensions.items()}
