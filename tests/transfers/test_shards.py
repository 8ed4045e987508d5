"""Portions and the journal: pure functions."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import DeliveryError, HostError
from ml_suite.hosts.reach import Reach
from ml_suite.stores.manifest import Entry, Manifest
from ml_suite.transfers import shards
from ml_suite.transfers.place import Place, Target
from ml_suite.transfers.shards import Size


def manifest_of(*sizes: int) -> Manifest:
    return Manifest.of(
        Entry(f"data/{number:04d}", size, hashlib.sha256(str(number).encode()).hexdigest())
        for number, size in enumerate(sizes)
    )


@given(st.sets(st.integers(0, 500)))
def test_spans_say_exactly_the_numbers(numbers: set[int]) -> None:
    text = shards.write_spans(sorted(numbers))
    assert (shards.read_spans(text, 501) if text else []) == sorted(numbers)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 120), st.integers(1, 9))
def test_portions_hold_every_file_once_and_are_not_too_large(sizes: list[int], most: int, files: int) -> None:
    wanted = manifest_of(*sizes)
    portions = shards.cut(wanted, range(len(sizes)), Size(most, files))
    assert [number for portion in portions for number in portion.numbers] == list(range(len(sizes)))
    for portion in portions:
        assert len(portion.entries) <= files
        assert portion.bytes <= most or len(portion.entries) == 1


def test_a_line_of_the_journal_proves_its_files_for_this_content_only() -> None:
    wanted, other = manifest_of(*range(10)), manifest_of(*range(1, 11))
    line = shards.of(wanted, [0, 1, 2, 7]).line
    assert line.startswith("+ 0-2,7 ")
    assert shards.proved([line], wanted) == {0, 1, 2, 7}
    assert shards.proved([line, shards.of(wanted, [3]).line], wanted) == {0, 1, 2, 3, 7}
    renamed = Manifest.of(Entry(f"x{e.key}", e.size, e.sha256) for e in wanted.entries)
    assert shards.proved([line], renamed) == set()
    assert shards.proved([line], other) == {0, 1, 2, 7}, (
        "names and checksums are the same, sizes are looked at"
    )


@pytest.mark.parametrize("end", range(0, 26, 5))
def test_a_torn_line_proves_nothing(end: int) -> None:
    wanted = manifest_of(*range(10))
    line = shards.of(wanted, [0, 1, 2, 7]).line
    assert shards.proved([line[:end]], wanted) == set()
    assert shards.proved([line[:end] + line], wanted) == (set() if end else {0, 1, 2, 7})


@pytest.mark.parametrize(
    "line", ["+ 0-99999999999 0123456789abcdef .", "+ 5-2 0123456789abcdef .", "", "- 1", "+"]
)
def test_nonsense_proves_nothing(line: str) -> None:
    assert shards.proved([line], manifest_of(1, 2, 3)) == set()


def test_what_the_host_says_of_odd_names_is_understood() -> None:
    names = ["back\\slash", "ends: FAILED", "plain", "sound"]
    wanted = Manifest.of(Entry(name, 1, "0" * 64) for name in names)
    place = Place(Target(Reach("big"), PurePosixPath("/d"), "x.zarr"), wanted)
    said = ["\\./back\\\\slash: FAILED", "./ends: FAILED: FAILED", "./plain: FAILED open or read"]
    assert place.bad(shards.of(wanted, range(4)), "bad", "", said) == names[:3]
    with pytest.raises(HostError, match="not compared to the end"):
        place.bad(shards.of(wanted, range(4)), "bad", "", [*said, "?"])


def test_control_characters_are_refused() -> None:
    with pytest.raises(DeliveryError, match="control character"):
        shards.check_names(Manifest.of([Entry("a\tb", 1, "0" * 64)]))
