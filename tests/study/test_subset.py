"""Parts of a table: exact, disjoint, nested, uniform, and the same everywhere."""

from __future__ import annotations

import hashlib
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import subset


def splitmix(state: int) -> int:
    """One number of the generator, as its authors wrote it down."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@given(st.integers(0, 300), st.integers(0, 10**9))
def test_the_order_is_that_of_splitmix64(n: int, seed: int) -> None:
    start = int.from_bytes(hashlib.sha256(f"{seed}/subset".encode()).digest()[:8], "big")
    expected = sorted(range(n), key=lambda i: splitmix((start + i * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)))
    assert subset.order(n, seed).tolist() == expected


def test_the_generator_is_the_published_one() -> None:
    """First number of splitmix64 from the state 1234567, as in the tests of other libraries."""
    assert splitmix(1234567) == 6457827717110365317


def test_the_first_order_is_frozen() -> None:
    """Another order would make every recorded study another one."""
    assert subset.order(10, 1).tolist() == [7, 9, 3, 0, 8, 2, 1, 6, 4, 5]


@given(st.integers(3, 400), st.floats(0.01, 0.45), st.floats(0.01, 0.45), st.integers(0, 99))
def test_parts_are_disjoint_exact_and_all_of_the_table(
    n: int, validation: float, test: float, seed: int
) -> None:
    counts = round(validation * n), round(test * n)
    if 0 in counts or sum(counts) >= n:
        with pytest.raises(StudyError, match=r"leave \d+ for (validation|test|training)"):
            subset.split(n, validation, test, seed)
        return
    parts = subset.split(n, validation, test, seed)
    assert (len(parts.validation), len(parts.test)) == counts
    together = np.concatenate([parts.training, parts.validation, parts.test])
    assert sorted(together.tolist()) == list(range(n))
    for part in (parts.training, parts.validation, parts.test):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


@given(st.integers(10, 500), st.integers(0, 99), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5))
def test_a_subset_has_the_share_and_contains_every_smaller_one(
    n: int, seed: int, shares: list[float]
) -> None:
    training = subset.split(n, 0.2, 0.1, seed).training
    smaller: set[int] = set()
    for share in sorted(shares):
        count = round(share * len(training))
        if not count:
            continue
        part = subset.subset(training, share, seed)
        assert len(part) == count
        assert (np.diff(part) > 0).all()
        assert smaller <= set(part.tolist()) <= set(training.tolist())
        smaller = set(part.tolist())


def test_the_validation_part_does_not_depend_on_the_test_part() -> None:
    one, other = (subset.split(1000, 0.2, test, 0) for test in (0.1, 0.3))
    assert np.array_equal(one.validation, other.validation)
    assert set(one.test.tolist()) <= set(other.test.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_spread_evenly_over_the_table(seed: int) -> None:
    """Chi-square of 50 bins stays below its 0.1 % critical value, 85.4."""
    n = 100_000
    parts = subset.split(n, 0.2, 0.1, seed)
    taken = (parts.validation, parts.test, subset.subset(parts.training, 0.05, seed))
    for part, among in zip(taken, (np.arange(n), np.arange(n), parts.training), strict=True):
        counts = np.histogram(part, bins=50, range=(0, n))[0]
        expected = np.histogram(among, bins=50, range=(0, n))[0] * len(part) / len(among)
        assert ((counts - expected) ** 2 / expected).sum() < 85.4


def test_neighbours_and_seeds_are_independent() -> None:
    n = 20_000
    one, other = (np.isin(np.arange(n), subset.order(n, seed)[: n // 2]) - 0.5 for seed in (0, 1))
    for a, b in ((one[:-1], one[1:]), (one[:-2], one[2:]), (one, other)):
        assert abs((a * b).mean() * 4) < 4 / n**0.5


def test_what_is_drawn_first_says_nothing_of_what_is_drawn_next() -> None:
    """The validation part is not the one that a subset would have, though the seed is the same."""
    n = 20_000
    validation = set(subset.split(n, 0.2, 0.1, 7).validation.tolist())
    assert abs(len(validation & set(subset.order(n, 7)[: n // 5].tolist())) - n / 25) < 150


def test_the_digest_is_of_the_sorted_numbers() -> None:
    expected = hashlib.sha256(struct.pack("<3q", 1, 2, 300)).hexdigest()
    assert subset.digest(np.array([300, 1, 2])) == expected
    assert subset.digest(np.array([2, 1, 300], dtype=np.int32)) == expected


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0.01, r"1% of 1,000 samples has 10, and a batch has 64\n.*at least `subset: 6\.4%`"),
        (0.0001, r"0\.01% of 1,000 samples has 0, and a batch has 64\n"),
    ],
)
def test_a_subset_smaller_than_a_batch_is_refused(share: float, told: str) -> None:
    training = np.arange(1000)
    with pytest.raises(StudyError, match=told):
        subset.subset(training, share, 0, batch=64)
    assert len(subset.subset(training, 0.064, 0, batch=64)) == 64


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_share_that_is_advised_is_enough(n: int, batch: int) -> None:
    with pytest.raises(StudyError) as caught:
        subset.subset(np.arange(n), 1e-9, 0, batch)
    if batch > n:
        assert caught.value.hint is not None
        assert "fewer samples than one" in caught.value.hint
    else:
        share = float(str(caught.value.hint).split("subset: ")[1].split("%")[0]) / 100
        assert len(subset.subset(np.arange(n), share, 0, batch)) >= batch


def test_two_million_samples_take_a_second() -> None:
    """Measured 0.4 s of CPU; 19.7 million took 5.4 s."""
    before = time.process_time()
    parts = subset.split(2_000_000, 0.2, 0.1, 0)
    subset.subset(parts.training, 0.05, 0, 1024)
    assert time.process_time() - before < 3
