"""Random sampling without a coordinator: trial *i* is a pure function of (seed, i).

Each hyperparameter gets its own uniform number: the first 53 bits of SHA-256 over the text ``SEED/TRIAL/NAME``, as a
fraction. So any shard on any host can draw any trial, the same in every version of Python, more trials can be added
later, and adding a hyperparameter does not change the values of the others. Where it is a list, each of its values has
a number of its own, ``SEED/TRIAL/NAME[3]``: more layers do not change the first ones. A trial that a constraint refuses
is drawn again from ``SEED/TRIAL.1/NAME``, then ``SEED/TRIAL.2/NAME`` and so on.

>>> uniform(0, 3, "training.optimization.lr")
0.8316543328798145
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.study import space
from ml_suite.study.space import Number, Space

ATTEMPTS = 10_000
"""Draws of a trial until one fulfils the constraints."""

_BITS = 53
_SHIFT = 64 - _BITS
_SCALE = 1 / (1 << _BITS)


def uniform(seed: int | str, trial: int, name: str, attempt: int = 0) -> float:
    """Draw the number of [0, 1) that belongs to a hyperparameter of a trial."""
    return numbers(seed, trial, attempt)(name)


def numbers(seed: int | str, trial: int, attempt: int = 0) -> Number:
    """Return the numbers of a trial by key."""
    start = f"{seed}/{trial}.{attempt}/" if attempt else f"{seed}/{trial}/"
    sha256, from_bytes = hashlib.sha256, int.from_bytes

    def number(key: str) -> float:
        # exact: a whole number of 53 bits times a power of two
        return (from_bytes(sha256((start + key).encode()).digest()[:8], "big") >> _SHIFT) * _SCALE

    return number


def draw(given: Space | Mapping[str, Dimension], seed: int | str, trial: int) -> dict[str, Any]:
    """Hyperparameters of a trial, by dotted key in the order of the space; one that is inactive has no key.

    Parameters
    ----------
    given
        Prepare it with `space.build` to draw many trials.

    Raises
    ------
    StudyError
        If no draw of `ATTEMPTS` fulfils the constraints.
    """
    ready = given if isinstance(given, Space) else space.build(given)
    for attempt in range(ATTEMPTS):
        values = ready.place(numbers(seed, trial, attempt))
        if values is not None:
            return values
    raise refused(ready, f"trial {trial}", ATTEMPTS)


def refused(given: Space, what: str, attempts: int) -> StudyError:
    """Return the error for constraints that leave nothing to draw."""
    told = "; ".join(constraint.text for constraint in given.constraints)
    return StudyError(
        f"{what}: none of {attempts:,} draws fulfils the constraints ({told})",
        "Loosen hpo.constraints, or choose ranges in hpo.space of which a larger part fulfils them.",
    )
