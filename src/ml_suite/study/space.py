"""The hyperparameter space: from uniform numbers to the values of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError
from typing import Any

from pydantic import ValidationError

from ml_suite.config import relations
from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.study import expressions
from ml_suite.study.expressions import Expression

DIGITS = 6
"""Significant digits of a real hyperparameter: enough to search, short enough to type, and fewer than the digits in
which two mathematical libraries can differ."""

Number = Callable[[str], float]
"""Number of [0, 1) that belongs to a key: the name of a hyperparameter, or ``NAME[3]`` for a value of a list."""


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


@dataclass(frozen=True)
class Part:
    """A hyperparameter, ready to be drawn many times."""

    name: str
    given: Dimension
    place: Callable[[float], Any]
    """From a number of [0, 1) to a value."""
    keys: tuple[str, ...]
    """Of its values: its name, or one for each value that it may have."""
    when: tuple[tuple[str, list[Any]], ...]

    def count(self, values: Mapping[str, Any]) -> int | None:
        """How many values it has where others have these VALUES; 0 is an empty list, None: it is not there."""
        for on, allowed in self.when:
            if on not in values or not any(relations.same(values[on], value) for value in allowed):
                return None
        if self.given.per is None:
            return 1
        return values.get(self.given.per)


@dataclass(frozen=True)
class Space:
    """A space and its constraints, ready to draw from."""

    dimensions: dict[str, Dimension]
    parts: tuple[Part, ...]
    """Each after those that it depends on."""
    constraints: tuple[Expression, ...]
    asked: tuple[Part, ...]
    """What the constraints read and all that it depends on; the others need not be drawn to reject a trial."""
    others: tuple[Part, ...]

    @property
    def keys(self) -> list[str]:
        """Every number that a trial may need, in the order of the space."""
        known = {part.name: part.keys for part in self.parts}
        return [key for name in self.dimensions for key in known[name]]

    def place(self, number: Number) -> dict[str, Any] | None:
        """Values of a trial from its numbers; None where a constraint does not hold."""
        values: dict[str, Any] = {}
        if self.constraints:
            _fill(values, self.asked, number)
            if not self.allows(values):
                return None
        _fill(values, self.others, number)
        return {name: values[name] for name in self.dimensions if name in values}

    def allows(self, values: Mapping[str, Any]) -> bool:
        """Tell whether values fulfil the constraints; one that reads what is not there says nothing."""
        return all(constraint.holds(values, absent=True) for constraint in self.constraints)


def build(dimensions: Mapping[str, Dimension], constraints: Iterable[str] = ()) -> Space:
    """Prepare a space for drawing.

    Raises
    ------
    StudyError
        If its hyperparameters depend on each other in a way that cannot be, or a constraint cannot be read.
    """
    if wrong := next(relations.problems(dimensions), None):
        where = ".".join(map(str, ("hpo", "space", *wrong.path)))
        raise StudyError(f"{where}: {wrong.message}", wrong.hint)
    read = tuple(expressions.compile(text, dimensions) for text in constraints)
    parts = tuple(_part(name, dimensions) for name in _order(dimensions))
    needed = {name for constraint in read for name in constraint.names}
    for part in reversed(parts):
        if part.name in needed:
            needed.update(relations.depends(part.given))
    return Space(
        dimensions=dict(dimensions),
        parts=parts,
        constraints=read,
        asked=tuple(part for part in parts if part.name in needed),
        others=tuple(part for part in parts if part.name not in needed),
    )


def _order(dimensions: Mapping[str, Dimension]) -> list[str]:
    try:
        return relations.order(dimensions)
    except CycleError as error:
        raise StudyError("hyperparameters depend on each other in a circle") from error


def _part(name: str, dimensions: Mapping[str, Dimension]) -> Part:
    given = dimensions[name]
    keys: Sequence[str] = (name,)
    if given.per is not None:
        most = dimensions[given.per].int
        keys = [f"{name}[{i}]" for i in range(most[1] if most else 0)]
    when = tuple((on, relations.wanted(values)) for on, values in (given.when or {}).items())
    return Part(name, given, _placer(given), tuple(keys), when)


def _fill(values: dict[str, Any], parts: Iterable[Part], number: Number) -> None:
    for part in parts:
        if not part.when and part.given.per is None:
            values[part.name] = part.place(number(part.name))
        elif (count := part.count(values)) is not None:
            if part.given.per is None:
                values[part.name] = part.place(number(part.name))
            else:
                values[part.name] = [part.place(number(key)) for key in part.keys[:count]]


def value(dimension: Dimension, uniform: float) -> Any:
    """Place a number of [0, 1) in the range of a dimension; integers include both ends.

    >>> value(Dimension(int=(4, 20)), 0.5)
    12
    >>> value(Dimension(log=(1e-5, 1e-3)), 0.5)
    0.0001
    """
    return _placer(dimension)(uniform)


def _placer(dimension: Dimension) -> Callable[[float], Any]:
    if dimension.choice is not None:
        choice = tuple(dimension.choice)
        number = len(choice)
        return lambda uniform: choice[int(uniform * number)]
    if dimension.int is not None:
        first, last = dimension.int
        width = last - first + 1
        return lambda uniform: first + int(uniform * width)
    if dimension.float is not None:
        low, high = dimension.float
        return lambda uniform: _clip(low + uniform * (high - low), low, high)
    if dimension.log is not None:
        low, high = dimension.log
        lowest, highest = math.log(low), math.log(high)

        def logarithmic(uniform: float) -> float:
            power = min(max(lowest + uniform * (highest - lowest), lowest), highest)
            return _clip(math.exp(power), low, high)

        return logarithmic
    raise StudyError("a dimension of the space has no range", "Give one of choice, int, float, log.")


def _clip(number: float, low: float, high: float) -> float:
    return min(max(float(f"{number:.{DIGITS}g}"), low), high)
