"""Every combination of a space, in an order that never changes.

A grid has all values of choices and whole numbers, and `points` values of a real range, both ends included. What others
depend on (`per`, `when`) varies slowest, so that only combinations that can be are counted; among the rest the last
hyperparameter varies fastest.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Any

from ml_suite.config import relations
from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.study import space
from ml_suite.study.space import Part, Space

MOST_CASES = 20_000
"""Combinations of what others depend on."""
MOST_POINTS = 200_000
"""Points that are looked at to find those which fulfil the constraints."""


def levels(name: str, given: Dimension) -> list[Any]:
    """Values of a hyperparameter in a grid.

    Raises
    ------
    StudyError
        If it is a real range without `points`, or has too many values.
    """
    if given.choice is not None:
        return list(given.choice)
    if given.int is not None:
        first, last = given.int
        if last - first >= MOST_POINTS:
            raise StudyError(f"'{name}' has {last - first + 1:,} values in a grid", "Write a choice.")
        return list(range(first, last + 1))
    if given.points is None:
        raise StudyError(
            f"a grid needs to know how many values '{name}' has",
            f"Write {{{given.kind}: [...], points: 5}}.",
        )
    steps = [i / (given.points - 1) for i in range(given.points)]
    return list(dict.fromkeys(space.value(given, step) for step in steps))


@dataclass(frozen=True)
class _Case:
    """One combination of what others depend on, and how many values each of the others then has."""

    values: dict[str, Any]
    others: tuple[tuple[Part, int | None], ...]


class Grid:
    """The grid of a space."""

    def __init__(self, given: Space) -> None:
        """Count the grid.

        Raises
        ------
        StudyError
            If a real range has no `points`, or too much depends on too much.
        """
        self.given = given
        self._levels = {part.name: levels(part.name, part.given) for part in given.parts}
        needed = {on for part in given.parts for on in relations.depends(part.given)}
        self._first = [part for part in given.parts if part.name in needed]
        self._rest = [part for part in given.parts if part.name not in needed]
        self._cases: list[_Case] = []
        sizes = []
        for values in self._combinations(0, {}):
            if len(self._cases) >= MOST_CASES:
                raise StudyError(
                    f"the grid has more than {MOST_CASES:,} combinations of {', '.join(p.name for p in self._first)}",
                    "Write `sampling: random`, or narrow these.",
                )
            case = _Case(dict(values), tuple((part, part.count(values)) for part in self._rest))
            self._cases.append(case)
            sizes.append(math.prod(self._size(part, count) for part, count in case.others))
        self._ends = list(accumulate(sizes))
        self._found: list[dict[str, Any]] = []
        self._next = 0
        """Combination that is looked at next, where there are constraints."""
        self._alone = Lock()

    @property
    def combinations(self) -> int:
        """Number of points, whatever the constraints say."""
        return self._ends[-1] if self._ends else 0

    def size(self, enough: int | None = None) -> int:
        """Count the points that fulfil the constraints, up to ENOUGH.

        Raises
        ------
        StudyError
            If there are too many points to look at.
        """
        if not self.given.constraints:
            return self.combinations
        with self._alone:
            self._extend(enough)
        return len(self._found)

    def _extend(self, enough: int | None) -> None:
        while self._next < self.combinations and (enough is None or len(self._found) < enough):
            if self._next >= MOST_POINTS:
                raise StudyError(
                    f"of the first {MOST_POINTS:,} points of the grid only "
                    f"{len(self._found):,} fulfil the constraints",
                    "Write `sampling: random`, or narrow hpo.space.",
                )
            values = self._at(self._next)
            self._next += 1
            if self.given.allows(values):
                self._found.append(values)

    def draw(self, trial: int) -> dict[str, Any]:
        """Hyperparameters of a trial.

        Raises
        ------
        StudyError
            If the grid has fewer points.
        """
        size = self.size(trial + 1)
        if trial >= size:
            raise too_small(size)
        return dict(self._found[trial]) if self.given.constraints else self._at(trial)

    def _combinations(self, at: int, values: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        if at == len(self._first):
            yield values
            return
        part = self._first[at]
        # what others depend on has one value: the checks of a space see to it
        if part.count(values) is None:
            yield from self._combinations(at + 1, values)
            return
        for value in self._levels[part.name]:
            yield from self._combinations(at + 1, {**values, part.name: value})

    def _size(self, part: Part, count: int | None) -> int:
        number = len(self._levels[part.name])
        return int(number**count) if count is not None else 1

    def _at(self, index: int) -> dict[str, Any]:
        number = bisect_right(self._ends, index)
        case = self._cases[number]
        left = index - (self._ends[number - 1] if number else 0)
        values = dict(case.values)
        for part, count in reversed(case.others):
            if count is None:
                continue
            steps = self._levels[part.name]
            drawn = []
            for _ in range(count):
                left, digit = divmod(left, len(steps))
                drawn.append(steps[digit])
            values[part.name] = drawn[::-1] if part.given.per is not None else drawn[0]
        return {name: values[name] for name in self.given.dimensions if name in values}


def too_small(size: int) -> StudyError:
    """Return the error for more trials than points."""
    return StudyError(
        f"the grid has {size:,} points, and more trials are wanted",
        f"Write trials: {size}, give real ranges more points, or write `sampling: random`.",
    )
