"""Which part loads which groups, and which groups may not share a chunk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ml_suite.datasets.groups import Group, groups_of_part, parse_part, shared_chunks
from ml_suite.errors import ConfigError

THEIRS = """
from anemoi.datasets.create.parts import PartFilter
import warnings; warnings.simplefilter("ignore")
for total in (1, 7, 8, 30, 100):
    for parts in (1, 2, 3, 7, 9, 49):
        for part in range(1, parts + 1):
            try:
                mine = PartFilter(parts=f"{part}/{parts}", total=total)
                print(total, parts, part, [g for g in range(total) if mine(g)])
            except AssertionError as error:
                raise SystemExit(str(error))
"""


@pytest.mark.anemoi
def test_the_same_groups_as_anemoi_datasets(anemoi_python: Path) -> None:
    done = subprocess.run([anemoi_python, "-c", THEIRS], capture_output=True, text=True, check=True)
    ours = [
        f"{total} {parts} {part} {groups_of_part(part, parts, total)}"
        for total in (1, 7, 8, 30, 100)
        for parts in (1, 2, 3, 7, 9, 49)
        for part in range(1, parts + 1)
    ]
    assert done.stdout.splitlines() == ours


@pytest.mark.parametrize("total", [1, 8, 365, 9999])
@pytest.mark.parametrize("parts", [1, 3, 7, 100])
def test_every_group_has_one_part(total: int, parts: int) -> None:
    loaded = [g for part in range(1, parts + 1) for g in groups_of_part(part, parts, total)]
    assert loaded == list(range(total))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1.0/2"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a part"):
        parse_part(text)


def test_a_missing_date_moves_the_groups_off_the_chunks() -> None:
    aligned = [Group(0, (0, 1, 2, 3)), Group(1, (4, 5, 6, 7))]
    moved = [Group(0, (0, 1, 3, 4)), Group(1, (5, 6, 7))]
    assert shared_chunks(aligned, 4, 2) == []
    assert shared_chunks(moved, 4, 2) == [(0, 1)]
    assert shared_chunks(moved, 4, 1) == []
