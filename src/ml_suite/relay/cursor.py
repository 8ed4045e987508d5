"""How far each job has been relayed; ``kill -9`` at any moment leaves at most one command in doubt.

A file of lines: ``KEY LAST DAY MISSING...`` is a whole position, ``+ KEY NUMBER`` one more step. A step is one write
that the kernel keeps when the process is killed; `sync` makes it outlive the machine, before what it stands for goes.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ml_suite import atomic

_STEPS = 20_000
"""After so many the file is written anew."""
_DAYS = 90
"""A job that is silent for so long has ended; its counter on the host goes earlier."""


@dataclass
class Position:
    """Everything up to `last` is done but for `missing`."""

    last: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    """First and last of the numbers that were passed over; their files may yet appear."""
    day: int = 0

    def done(self, number: int) -> bool:
        """Whether a command needs no more attention."""
        return number <= self.last and not any(low <= number <= high for low, high in self.missing)

    def mark(self, number: int) -> None:
        """Note that a command is done."""
        if number > self.last:
            self.missing += [(self.last + 1, number - 1)] if number > self.last + 1 else []
            self.last = number
            return
        parts = [
            part
            for low, high in self.missing
            for part in (((low, number - 1), (number + 1, high)) if low <= number <= high else ((low, high),))
        ]
        self.missing = [(low, high) for low, high in parts if low <= high]


class Cursor:
    """The positions of all jobs of one spool, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._positions: dict[str, Position] = {}
        if path.exists():
            for line in path.read_text().split("\n")[:-1]:
                self._read(line.split(" "))
        self._dirty = False
        self._renew()

    def done(self, key: str, number: int) -> bool:
        """Whether this command needs no more attention."""
        return key in self._positions and self._positions[key].done(number)

    def next(self, key: str) -> int:
        """The number that is due."""
        return self._positions[key].last + 1 if key in self._positions else 1

    def mark(self, key: str, numbers: Iterable[int]) -> None:
        """Note that these commands of a job are done, all or none of them."""
        chosen = list(numbers)
        for number in chosen:
            self._step(key, number)
        # one write: a kill between two of them would bring half of a coalesced group back
        lines = "".join(f"+ {key} {number}\n" for number in chosen).encode()
        if os.write(self._file, lines) != len(lines):
            raise OSError(errno.ENOSPC, "the relay's cursor was cut off", str(self._path))
        self._steps += len(chosen)
        self._dirty = True

    def sync(self) -> None:
        """Make all marks outlive a crash of the machine."""
        if self._steps > _STEPS:
            os.close(self._file)
            self._renew()
        elif self._dirty:
            os.fsync(self._file)
        self._dirty = False

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def _step(self, key: str, number: int) -> None:
        position = self._positions.setdefault(key, Position())
        position.mark(number)
        position.day = _today()

    def _read(self, words: list[str]) -> None:
        if words[0] == "+":
            self._step(words[1], int(words[2]))
        else:
            key, last, day, *missing = words
            ranges = [(int(low), int(high)) for low, _, high in (each.partition("-") for each in missing)]
            self._positions[key] = Position(int(last), ranges, int(day))

    def _renew(self) -> None:
        recent = _today() - _DAYS
        self._positions = {key: p for key, p in self._positions.items() if p.day >= recent}
        lines = (
            " ".join((key, str(p.last), str(p.day), *(f"{low}-{high}" for low, high in p.missing))) + "\n"
            for key, p in self._positions.items()
        )
        atomic.write(self._path, "".join(lines), 0o600)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._steps = 0


def _today() -> int:
    return int(time.time()) // 86400
