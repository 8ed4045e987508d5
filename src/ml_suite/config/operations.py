"""Operations and functions of expressions, each with a bounded result."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

BITS = 256
"""Of the largest whole number."""
POWER = 64
"""Largest exponent."""


class Absent(Exception):
    """A value that is not there: an inactive hyperparameter, or an element beyond the end of a list."""


class Refused(Exception):
    """An operation that is not offered for these values."""


def number(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    raise Refused(f"{value!r} is no number")


def small(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > BITS:
        raise Refused("the number becomes too large")
    if isinstance(value, complex):
        raise Refused("this has no real value")
    return value


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > POWER:
        raise Refused(f"an exponent is at most {POWER}")
    if isinstance(base, int) and base.bit_length() > BITS:
        raise Refused("the number becomes too large")
    return base**exponent


def in_order(values: Any, reverse: bool = False) -> list[Any]:
    return sorted(_several(values), reverse=bool(reverse))


def _several(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return list(values)
    raise Refused(f"{values!r} is no list")


def _least(pick: Callable[[Iterable[Any]], Any]) -> Callable[..., Any]:
    def work(first: Any, *others: Any) -> Any:
        among = [first, *others] if others else _several(first)
        if not among:
            raise Absent
        return pick(among)

    return work


def _length(values: Any) -> int:
    return len(values) if isinstance(values, str) else len(_several(values))


def _round(value: Any, digits: Any = 0) -> Any:
    return round(number(value), max(-20, min(20, digits))) if digits else round(number(value))


def _weights(inputs: Any, units: Any, outputs: Any, layers: Any = None) -> int:
    """Trainable parameters of a dense network; UNITS are the widths of its hidden layers, or the width of each."""
    hidden = _several(units) if isinstance(units, list | tuple) else [units] * _count(layers)
    widths = [_count(width) for width in (inputs, *hidden, outputs)]
    return sum((a + 1) * b for a, b in pairwise(widths))


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return value
    raise Refused(f"{value!r} is no number of units or layers")


ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _length,
    "min": _least(min),
    "max": _least(max),
    "sum": lambda values: sum(map(number, _several(values))),
    "abs": lambda value: abs(number(value)),
    "round": _round,
    "any": lambda values: any(_several(values)),
    "all": lambda values: all(_several(values)),
    "sorted": in_order,
    "weights": _weights,
}
"""Functions that an expression may call."""


COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
