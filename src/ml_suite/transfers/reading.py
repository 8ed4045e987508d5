"""Read many objects in order, a few of them ahead; never more than a window of bytes in memory."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ml_suite.stores.manifest import Entry
from ml_suite.stores.s3 import PART
from ml_suite.stores.streams import SMALL

if TYPE_CHECKING:
    from obstore.store import S3Store

WINDOW = 4 * PART
"""Bytes that are read ahead."""
_AT_ONCE = 48
_THREADS = 4


@dataclass(frozen=True)
class _Piece:
    entry: Entry
    offset: int
    length: int


@dataclass(frozen=True)
class Object:
    """One object; its blocks must be taken before the next object is."""

    entry: Entry
    missing: bool
    """It is not there, or not of its size."""
    blocks: Iterator[memoryview]


class Reader:
    """Reads below one prefix; use it as a context manager."""

    def __init__(self, store: S3Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def __enter__(self) -> Self:
        # one event loop is faster for small objects, threads for large ones
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reading", daemon=True)
        self._thread.start()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="reading")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def objects(self, entries: Iterable[Entry]) -> Iterator[Object]:
        """Read them in their order."""
        ahead = _Ahead(self._start, (piece for entry in entries for piece in _pieces(entry)))
        while taken := ahead.take():
            piece, data = taken
            rest = piece.entry.size - piece.length
            yield Object(piece.entry, len(data) != piece.length, _blocks(data, rest, ahead))

    def _start(self, piece: _Piece) -> Future[memoryview]:
        if piece.length <= SMALL:
            return asyncio.run_coroutine_threadsafe(self._small(piece), self._loop)
        return self._pool.submit(self._large, piece)

    async def _small(self, piece: _Piece) -> memoryview:
        if piece.length == 0:
            return memoryview(b"")
        try:
            got = await self._store.get_range_async(self._key(piece), start=piece.offset, length=piece.length)
        except FileNotFoundError:
            return memoryview(b"")
        return memoryview(got)

    def _large(self, piece: _Piece) -> memoryview:
        key = self._key(piece)
        try:
            # asked once per object: an end beyond the object's is an error of its own on some servers
            if piece.offset == 0 and self._store.head(key)["size"] != piece.entry.size:
                return memoryview(b"")
            return memoryview(self._store.get_range(key, start=piece.offset, length=piece.length))
        except FileNotFoundError:
            return memoryview(b"")

    def _key(self, piece: _Piece) -> str:
        return f"{self._prefix}/{piece.entry.key}"


class _Ahead:
    """Requests that are on their way, in order."""

    def __init__(self, start: Callable[[_Piece], Future[memoryview]], wanted: Iterator[_Piece]) -> None:
        self._start, self._wanted = start, wanted
        self._running: deque[tuple[_Piece, Future[memoryview]]] = deque()
        self._held = 0
        self._next: _Piece | None = None

    def take(self) -> tuple[_Piece, memoryview] | None:
        """The next piece, and whether it came: an object that is not there gives no bytes."""
        self._fill()
        if not self._running:
            return None
        piece, future = self._running.popleft()
        data = future.result()
        self._held -= piece.length
        return piece, data

    def _fill(self) -> None:
        while len(self._running) < _AT_ONCE:
            self._next = self._next or next(self._wanted, None)
            if self._next is None or (self._running and self._held + self._next.length > WINDOW):
                return
            self._running.append((self._next, self._start(self._next)))
            self._held += self._next.length
            self._next = None


def _pieces(entry: Entry) -> Iterator[_Piece]:
    for offset in range(0, max(entry.size, 1), PART):
        yield _Piece(entry, offset, min(PART, entry.size - offset))


def _blocks(first: memoryview, rest: int, ahead: _Ahead) -> Iterator[memoryview]:
    yield first
    while rest > 0:
        taken = ahead.take()
        assert taken is not None
        piece, data = taken
        rest -= piece.length
        yield data
