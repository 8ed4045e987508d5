"""Pareto fronts of value against weight, both better when smaller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Point:
    """A model as a point; the order of the fields decides between equals."""

    value: float
    """Of the metric, signed so that smaller is better."""
    weight: float
    """Parameters or inference time."""
    trial: int


def layers(points: Iterable[Point]) -> list[list[Point]]:
    """Fronts from the best on: no point of the first is beaten in both, none of the second but by the first, ...

    Each front is ordered by value. A point is beaten by one that is as good in both and better in one.

    >>> [[p.trial for p in f] for f in layers([Point(1, 9, 0), Point(2, 5, 1), Point(3, 6, 2), Point(4, 1, 3)])]
    [[0, 1, 3], [2]]
    """
    left = sorted(points)
    found = []
    while left:
        front: list[Point] = []
        rest = []
        # by ascending value, a point is beaten unless it is lighter than all before it
        for point in left:
            last = front[-1] if front else None
            same = last is not None and (last.value, last.weight) == (point.value, point.weight)
            if last is None or point.weight < last.weight or same:
                front.append(point)
            else:
                rest.append(point)
        found.append(front)
        left = rest
    return found


def balance(points: Sequence[Point]) -> Point:
    """Best balance of the first front: nearest to its best value and its lowest weight together.

    Both axes are scaled to the extent of the front, logarithmically where all are positive, since models differ by
    factors.
    """
    front = layers(points)[0]
    values, weights = _scaled([p.value for p in front]), _scaled([p.weight for p in front])
    distance = {p.trial: math.hypot(v, w) for p, v, w in zip(front, values, weights, strict=True)}
    return min(front, key=lambda p: (distance[p.trial], p))


def _scaled(numbers: Sequence[float]) -> list[float]:
    told = [math.log(x) for x in numbers] if min(numbers) > 0 else list(numbers)
    low, extent = min(told), max(told) - min(told)
    return [(x - low) / extent if extent else 0.0 for x in told]
