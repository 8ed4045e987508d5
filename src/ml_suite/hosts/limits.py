"""At most so many at once, and not too often: limits that hold across processes. Standard library only.

Locks are the kernel's: they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import HostBusy

LONGEST_PAUSE = 900.0
"""Seconds without a new connection after many failures."""

BURST = 4
WINDOW = 120.0
"""No more than BURST connections in WINDOW seconds, whatever became of them."""

_JITTER = 1.25


@contextlib.contextmanager
def slot(stem: Path, patience: float, count: int) -> Iterator[int]:
    """Hold one of COUNT places; yields a descriptor that keeps the place as long as any process has it open.

    Raises
    ------
    HostBusy
        If no place is free for PATIENCE seconds.
    """
    deadline = time.monotonic() + patience
    places = [stem.with_name(f"{stem.name}.{number}") for number in range(count)]
    while True:
        random.shuffle(places)
        for place in places:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if _try_lock(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)
        if time.monotonic() > deadline:
            raise HostBusy(
                f"{count} commands run at {stem.name.split('.')[0]} and none ended in {patience:.0f} s",
                "Try again later; `ml-suite hosts check` shows whether the host answers.",
            )
        time.sleep(random.uniform(0.01, 0.05))


def exclusive(path: Path, patience: float) -> contextlib.AbstractContextManager[int]:
    """Hold a place that only one can have; raises `HostBusy` like `slot`."""
    return slot(path, patience, count=1)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class Attempts:
    """Connections that were tried, kept on disk; times in seconds since 1970."""

    recent: tuple[float, ...] = ()
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """End of the pause after the last failure."""
    kind: str = ""
    """What the last failure was, so that callers in the pause raise the same error."""
    message: str = ""
    hint: str | None = None

    def spacing(self, now: float, wait: float) -> float:
        """Seconds until another connection keeps the distance that the site asks for.

        >>> Attempts((95.0,)).spacing(100.0, wait=10.0)
        5.0
        >>> Attempts((0.0, 10.0, 20.0, 30.0)).spacing(100.0, wait=10.0)
        20.0
        """
        recent = sorted(self._recent(now))
        last = recent[-1] + wait - now if recent else 0.0
        burst = recent[-BURST] + WINDOW - now if len(recent) >= BURST else 0.0
        return max(last, burst, 0.0)

    def pause(self, now: float) -> float:
        """Seconds left of the pause after a failure.

        >>> Attempts((), 1, not_before=130.0).pause(100.0)
        30.0
        """
        left = self.not_before - now
        # a clock that was set back must not close a host for ever
        return left if 0 < left <= LONGEST_PAUSE * _JITTER else 0.0

    def begun(self, now: float, wait: float) -> Attempts:
        """One more connection is tried; until its end is known it counts as failed."""
        failed = replace(self, recent=(*self._recent(now), now), failures=self.failures + 1)
        return failed.failed(
            now, wait, "HostUnreachable", "the last attempt to connect was interrupted", None
        )

    def failed(self, now: float, wait: float, kind: str, message: str, hint: str | None) -> Attempts:
        """What was begun failed: the pause doubles each time, with jitter that only makes it longer."""
        pause = min(max(wait, 1.0) * 2.0 ** min(self.failures - 1, 20), LONGEST_PAUSE)
        end = now + pause * random.uniform(1.0, _JITTER)
        return replace(self, not_before=end, kind=kind, message=message, hint=hint)

    def succeeded(self) -> Attempts:
        """What was begun is open."""
        return Attempts(self.recent)

    def _recent(self, now: float) -> tuple[float, ...]:
        return tuple(start for start in self.recent if now - WINDOW < start <= now)


def read(path: Path) -> Attempts:
    """Attempts so far; none if the file is missing or damaged."""
    try:
        fields = json.loads(path.read_text())
        return Attempts(**{**fields, "recent": tuple(fields["recent"])})
    except (OSError, ValueError, TypeError, KeyError):
        return Attempts()


def keep(path: Path, attempts: Attempts) -> None:
    """Write them atomically; only under the lock of the connection."""
    atomic.write(path, json.dumps(asdict(attempts)), mode=0o600)
