"""Groups of dates: which part loads which, and which chunk files they must leave.

A dataset is loaded in groups of dates; part i of n loads the groups g with (i-1)/n <= g/total < i/n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.errors import ConfigError


def groups_of_part(part: int, parts: int, total: int) -> list[int]:
    """Groups that ``anemoi-datasets load --parts PART/PARTS`` loads; the same arithmetic as there.

    >>> groups_of_part(1, 3, 8), groups_of_part(2, 3, 8), groups_of_part(3, 3, 8)
    ([0, 1, 2], [3, 4, 5], [6, 7])
    """
    share = total / parts
    return [group for group in range(total) if (part - 1) * share <= group < part * share]


def parse_part(text: str) -> tuple[int, int]:
    """Parse ``I/N``.

    >>> parse_part("2/8")
    (2, 8)

    Raises
    ------
    ConfigError
        If it is not two whole numbers with 1 <= I <= N.
    """
    part, slash, parts = text.partition("/")
    if slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts):
        return int(part), int(parts)
    raise ConfigError(f"--part {text!r} is not a part", "Write I/N with 1 <= I <= N, such as 1/4.")


@dataclass(frozen=True)
class Group:
    """One group of dates in the data array."""

    number: int
    rows: tuple[int, ...]
    """Positions of its dates on the first axis; missing dates belong to no group."""

    def chunks(self, length: int) -> set[int]:
        """Numbers of the chunks on the first axis that hold these rows, for chunks of LENGTH rows."""
        return {row // length for row in self.rows}


def ranges(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Write increasing rows as ranges, both ends included.

    >>> ranges([0, 1, 2, 4])
    [(0, 2), (4, 4)]
    """
    found: list[tuple[int, int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found


def from_ranges(number: int, spans: Iterable[tuple[int, int]]) -> Group:
    """Read a group from its ranges.

    >>> from_ranges(7, [(0, 2), (4, 4)])
    Group(number=7, rows=(0, 1, 2, 4))
    """
    return Group(number, tuple(row for first, last in spans for row in range(first, last + 1)))


def read_groups(path: Path) -> list[Group]:
    """Groups of a dataset that is being loaded, as anemoi-datasets makes them from the stored recipe."""
    import numpy as np
    from anemoi.datasets.create.recipe import loader_recipe_from_zarr

    from ml_suite.datasets.store import open_group

    dates = open_group(path)["dates"][:]
    row = {np.datetime64(date, "s"): i for i, date in enumerate(dates)}
    recipe: Any = loader_recipe_from_zarr(str(path))
    return [
        Group(number, tuple(row[np.datetime64(date, "s")] for date in group))
        for number, group in enumerate(recipe.make_groups())
    ]


def shared_chunks(groups: list[Group], length: int, parts: int) -> list[tuple[int, int]]:
    """Pairs of groups that are in different parts and write to the same chunk: one would undo the other.

    >>> shared_chunks([Group(0, (0, 1, 2)), Group(1, (3, 4))], 2, 2)
    [(0, 1)]
    >>> shared_chunks([Group(0, (0, 1)), Group(1, (2, 3))], 2, 2)
    []
    """
    part = {g: p for p in range(1, parts + 1) for g in groups_of_part(p, parts, len(groups))}
    owner: dict[int, int] = {}
    found = []
    for group in groups:
        for chunk in sorted(group.chunks(length)):
            other = owner.setdefault(chunk, group.number)
            if part[other] != part[group.number]:
                found.append((other, group.number))
    return found


def groups_without_chunks(path: Path, groups: list[Group]) -> list[int]:
    """Numbers of the groups of which a chunk file of the data array is not there.

    Every chunk of a loaded group has a file, also when all its values are NaN. A flag alone is no proof: a write that
    failed inside a buffer, or a file that somebody removed, leaves the flag set.
    """
    from itertools import product

    from ml_suite.datasets.store import open_group

    if not groups:
        return []
    data = open_group(path)["data"]
    names = {entry.name for entry in (path / "data").iterdir()}
    rest = list(product(*(range(n) for n in data.cdata_shape[1:])))
    separator = getattr(data, "_dimension_separator", ".")
    if separator != ".":
        return []  # nested folders: made by another tool than anemoi-datasets
    present = {
        first
        for first in range(data.cdata_shape[0])
        if all(".".join(map(str, (first, *others))) in names for others in rest)
    }
    return [group.number for group in groups if not group.chunks(data.chunks[0]) <= present]
