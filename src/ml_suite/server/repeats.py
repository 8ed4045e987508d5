"""Whether a repeat still holds its current value after a change."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Repeat:
    """A repeat as ecFlow prints it, ``date YMD 20240101 20240110 1``."""

    kind: str
    name: str
    values: Sequence[str]
    listed: bool
    """The state is a position in the list, not a value."""

    def current(self, runtime: str) -> str:
        """Value that the state stands for; one past the end when the repeat is over."""
        if not runtime:
            return self.values[0]
        word = runtime.split()[0]
        if not self.listed:
            return word
        position = int(word)
        return self.values[position] if position < len(self.values) else ""

    def runtime(self, value: str) -> str:
        """State that stands for VALUE."""
        return str(self.values.index(value)) if self.listed else value


def parse(text: str) -> Repeat | None:
    """Read what follows the word ``repeat``; None for ``day`` and kinds that have no list of values.

    >>> parse("integer I 1 10 3").values
    ('1', '4', '7', '10')
    """
    kind, name, *rest = shlex.split(text)
    if kind == "date":
        return Repeat(kind, name, _dates(rest), False)
    if kind == "integer":
        start, end, step = int(rest[0]), int(rest[1]), int(rest[2]) if len(rest) > 2 else 1
        return Repeat(kind, name, tuple(map(str, range(start, end + (1 if step > 0 else -1), step))), False)
    if kind in ("enumerated", "string", "datelist"):
        return Repeat(kind, name, tuple(rest), True)
    return None


def carry(old: str, new: str, runtime: str) -> str | None:
    """State for the repeat NEW of a node that had OLD; None when NEW does not hold the current value.

    >>> carry('enumerated E "a" "b"', 'enumerated E "x" "b"', "1")
    '1'
    >>> carry("date YMD 20240101 20240110 1", "date YMD 20240107 20240110 1", "20240105") is None
    True
    """
    before, after = parse(old), parse(new)
    if before is None or after is None or before.name != after.name:
        return None
    value = before.current(runtime)
    return after.runtime(value) if value in after.values else None


def current(text: str, runtime: str) -> str:
    """Value of a repeat for a person."""
    repeat = parse(text)
    return repeat.current(runtime) or "its end" if repeat else runtime


def _dates(words: Sequence[str]) -> tuple[str, ...]:
    start, end = (date(int(w[:4]), int(w[4:6]), int(w[6:8])) for w in words[:2])
    step = int(words[2]) if len(words) > 2 else 1
    days = range(0, (end - start).days + (1 if step > 0 else -1), step)
    return tuple((start + timedelta(days=n)).strftime("%Y%m%d") for n in days)
