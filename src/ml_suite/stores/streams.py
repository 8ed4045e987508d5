"""What uploads and downloads share: many objects at once, progress, one transfer at a time."""

from __future__ import annotations

import asyncio
import fcntl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml_suite.errors import DeliveryError
from ml_suite.quantities import format_bytes
from ml_suite.stores.manifest import Entry, ProgressCallback

SMALL = 1 << 20
"""Objects up to this size go through one event loop, larger ones through threads: each is faster there."""
_SMALL_AT_ONCE = 32
_LARGE_AT_ONCE = 6
_TELL_EVERY = 0.5
_METADATA = (".zattrs", ".zgroup", ".zmetadata", ".zarray", "zarr.json")


@dataclass(frozen=True)
class TransferSummary:
    """What one run of a transfer did.

    Attributes
    ----------
    objects, bytes
        What was moved in this run.
    skipped
        Objects that were there already and right.
    seconds
        Wall time.
    extra
        Objects under the address that are in no manifest of ours; they are left alone.
    """

    objects: int
    bytes: int
    skipped: int
    seconds: float
    extra: tuple[str, ...] = ()

    def __str__(self) -> str:
        rate = format_bytes(self.bytes / self.seconds if self.seconds else 0)
        moved = f"{self.objects} objects, {format_bytes(self.bytes)} at {rate}/s"
        return f"{moved}, {self.skipped} were there already"


class Tally:
    """Counts what a transfer does, from several threads."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._told = float("-inf")
        self._total = total
        self._progress = progress
        self._done = self._bytes = self._objects = self._skipped = 0

    def moved(self, size: int) -> None:
        """Count one object that was sent or received."""
        with self._lock:
            self._objects += 1
            self._bytes += size
        self._advance(size)

    def skip(self, size: int) -> None:
        """Count one object that was right already."""
        with self._lock:
            self._skipped += 1
        self._advance(size)

    def _advance(self, size: int) -> None:
        with self._lock:
            self._done += size
            now = time.monotonic()
            if self._progress and (now - self._told > _TELL_EVERY or self._done >= self._total):
                self._told = now
                self._progress(self._done, self._total)

    def summary(self, extra: Iterable[str] = ()) -> TransferSummary:
        """Close the account."""
        seconds = time.monotonic() - self._start
        return TransferSummary(self._objects, self._bytes, self._skipped, seconds, tuple(sorted(extra)))


def run(
    entries: Iterable[Entry], small: Callable[[Entry], Awaitable[None]], large: Callable[[Entry], None]
) -> None:
    """Work on all entries; metadata comes last, so that a reader finds no store before its data.

    Raises
    ------
    Exception
        The first one that SMALL or LARGE raises; what has not begun is left undone.
    """
    data: list[Entry] = []
    metadata: list[Entry] = []
    for entry in entries:
        (metadata if entry.key.rpartition("/")[2] in _METADATA else data).append(entry)
    for batch in (data, metadata):
        _in_threads([entry for entry in batch if entry.size > SMALL], large)
        asyncio.run(_in_loop(iter([entry for entry in batch if entry.size <= SMALL]), small))


def _in_threads(entries: list[Entry], work: Callable[[Entry], None]) -> None:
    if not entries:
        return
    with ThreadPoolExecutor(_LARGE_AT_ONCE) as pool:
        futures = [pool.submit(work, entry) for entry in entries]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=True, cancel_futures=True)
    for future in done:
        future.result()


async def _in_loop(entries: Iterator[Entry], work: Callable[[Entry], Awaitable[None]]) -> None:
    async def worker() -> None:
        for entry in entries:
            await work(entry)

    await asyncio.gather(*(worker() for _ in range(_SMALL_AT_ONCE)))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep a second transfer of the same store away.

    Raises
    ------
    DeliveryError
        If one is running.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeliveryError(
                f"{path}: another transfer of this store is running", "Wait for it to end."
            ) from error
        except OSError:
            pass  # some parallel file systems have no locks; the checksums still hold
        yield
