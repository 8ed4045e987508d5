"""The hyperparameter space: from a uniform number to a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError

DIGITS = 6
"""Significant digits of a real hyperparameter: enough to search, short enough to type, and fewer than the digits in
which two mathematical libraries can differ."""


def parse(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Dimension]:
    """Read a frozen space back.

    Raises
    ------
    StudyError
        If it is empty or a range is none of choice, int, float, log.
    """
    if not space:
        raise StudyError("the hyperparameter space is empty", "Name at least one key below hpo.space.")
    try:
        return {name: Dimension.model_validate(dict(given)) for name, given in space.items()}
    except ValidationError as error:
        raise StudyError(f"the hyperparameter space cannot be read: {error.errors()[0]['msg']}") from error


def value(dimension: Dimension, uniform: float) -> Any:
    """Place a number of [0, 1) in the range of a dimension; integers include both ends.

    >>> value(Dimension(int=(4, 20)), 0.5)
    12
    >>> value(Dimension(log=(1e-5, 1e-3)), 0.5)
    0.0001
    """
    if dimension.choice is not None:
        return dimension.choice[int(uniform * len(dimension.choice))]
    if dimension.int is not None:
        first, last = dimension.int
        return first + int(uniform * (last - first + 1))
    if dimension.float is not None:
        return _between(*dimension.float, uniform)
    if dimension.log is not None:
        low, high = dimension.log
        return _clip(math.exp(_between(math.log(low), math.log(high), uniform, digits=17)), low, high)
    raise StudyError("a dimension of the space has no range", "Give one of choice, int, float, log.")


def _between(low: float, high: float, uniform: float, digits: int = DIGITS) -> float:
    return _clip(low + uniform * (high - low), low, high, digits)


def _clip(number: float, low: float, high: float, digits: int = DIGITS) -> float:
    return min(max(float(f"{number:.{digits}g}"), low), high)
