from __future__ import annotations

import pytest

from ml_suite.server.repeats import carry, current


@pytest.mark.parametrize(
    ("old", "new", "runtime", "expected"),
    [
        ("date YMD 20240101 20240110 1", "date YMD 20240103 20240120 1", "20240105", "20240105"),
        ("date YMD 20240101 20240110 1", "date YMD 20240101 20240120 7", "20240105", None),
        ("date YMD 20240101 20240110 1", "date YMD 20240101 20240120 7", "20240108", "20240108"),
        ("date YMD 20240110 20240101 -1", "date YMD 20240120 20240101 -1", "20240105", "20240105"),
        ("date YMD 20240101 20240110 1", "date DAY 20240101 20240110 1", "20240105", None),
        ("date YMD 20240101 20240110 1", "integer YMD 1 10 1", "20240105", None),
        ("integer I 1 10 3", "integer I 4 20 1", "7", "7"),
        ("integer I 1 10 3", "integer I 2 20 1", "", None),
        ('enumerated E "a" "b" "c"', 'enumerated E "c" "b"', "2", "0"),
        ('enumerated E "a b" "c"', 'string E "x" "a b"', "", "1"),
        ('string S "a" "b"', 'string S "a"', "1", None),
        ("day 1", "day 2", "", None),
    ],
)
def test_the_current_value_is_found_in_the_new_range(
    old: str, new: str, runtime: str, expected: str | None
) -> None:
    assert carry(old, new, runtime) == expected


def test_the_current_value_is_told_in_words() -> None:
    assert current('enumerated E "a" "b"', "1") == "b"
    assert current('enumerated E "a" "b"', "2") == "its end"
    assert current("date YMD 20240101 20240110 1", "") == "20240101"
