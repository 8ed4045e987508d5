"""Send portions through this machine: objects become a tar stream that the host unpacks, and nothing lands here.

While the host proves a portion the next one is on its way already.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ml_suite.errors import DeliveryError, MlSuiteError
from ml_suite.stores.connections import S3
from ml_suite.stores.s3 import Location, open_bucket, told
from ml_suite.transfers import archive, scripts, shards
from ml_suite.transfers.carrier import Carried, Moved
from ml_suite.transfers.place import Place
from ml_suite.transfers.reading import Object, Reader
from ml_suite.transfers.session import Session
from ml_suite.transfers.shards import Shard, Size

SIZE = Size(bytes=1 << 30, files=8192)
"""Of a portion: one process at the host each, so that no site's limit of computing time is met."""

_ROOMY = 4
"""Commands at once that a host must allow before a transfer takes two of them."""

_Answer = tuple[int, str, str]


@dataclass(frozen=True)
class Stream:
    """From the store at WHERE over the open connection."""

    where: Location
    connection: S3
    size: Size = SIZE

    def carry(self, place: Place, portions: Iterable[Shard], moved: Moved) -> Iterator[Carried]:
        """Carry portions to a place that is open, one after the other."""
        store = open_bucket(self.where.bucket, self.connection)
        before: _Sent | None = None
        with Reader(store, self.where.key) as reader, ThreadPoolExecutor(1) as waiting:
            try:
                for shard in portions:
                    if before and place.target.way.sessions < _ROOMY:
                        yield before.outcome(place)
                        before = None
                    sent = self._send(place, shard, reader, moved, waiting)
                    if before:
                        yield before.outcome(place)
                    before = sent
                if before:
                    yield before.outcome(place)
            except DeliveryError:
                if before:
                    # the host has all of it and proves it
                    with contextlib.suppress(MlSuiteError):
                        before.answer.result()
                raise
            except BaseException:
                if before:
                    before.session.abandon()
                raise

    def _send(
        self, place: Place, shard: Shard, reader: Reader, moved: Moved, waiting: ThreadPoolExecutor
    ) -> _Sent:
        identity = secrets.token_hex(6)
        session = Session(place.target.way, place.text(scripts.RECEIVE, id=identity))
        try:
            with told(f"read {self.where}", self.connection):
                writing = _Writing(session, place, shard, moved)
                for found in reader.objects(shard.entries):
                    if not writing.add(found):
                        break
                writing.end(identity)
            return _Sent(session, writing.whole, tuple(writing.damaged), waiting.submit(session.answer))
        except BaseException:
            session.abandon()
            raise


@dataclass(frozen=True)
class _Sent:
    """A portion that the host is proving."""

    session: Session
    shard: Shard
    damaged: tuple[str, ...]
    answer: Future[_Answer]

    def outcome(self, place: Place) -> Carried:
        bad = place.bad(self.shard, *place.answer(*self.answer.result()))
        return Carried(self.shard, self.damaged, tuple(bad))


class _Writing:
    """Writes one portion and keeps account of what is in it."""

    def __init__(self, session: Session, place: Place, shard: Shard, moved: Moved) -> None:
        self._session, self._place, self._shard, self._moved = session, place, shard, moved
        self.damaged: list[str] = []

    @property
    def whole(self) -> Shard:
        """The portion without what is damaged."""
        lost = set(self.damaged)
        kept = zip(self._shard.numbers, self._shard.entries, strict=True)
        return shards.of(self._place.wanted, (number for number, entry in kept if entry.key not in lost))

    def add(self, found: Object) -> bool:
        """Write one object; False if the host reads no more."""
        first = next(found.blocks)
        entry = found.entry
        small = len(first) == entry.size
        if found.missing or (small and hashlib.sha256(first).hexdigest() != entry.sha256):
            for _ in found.blocks:
                pass
            self.damaged.append(entry.key)
            self._moved(entry.size)
            return True
        if small:
            data = archive.header(self._name(entry.key), entry.size) + first + archive.padding(entry.size)
            going = self._session.write(data)
            self._moved(entry.size)
            return going
        return self._large(found, first)

    def _large(self, found: Object, first: memoryview) -> bool:
        entry, digest, size = found.entry, hashlib.sha256(first), len(first)
        going = self._session.write(archive.header(self._name(entry.key), entry.size))
        going = going and self._session.write(first)
        self._moved(size)
        for block in found.blocks:
            digest.update(block)
            going = going and self._session.write(block)
            size += len(block)
            self._moved(len(block))
        # an object that was cut off meanwhile must not shift what follows
        going = going and self._session.write(bytes(entry.size - size) + archive.padding(entry.size))
        if digest.hexdigest() != entry.sha256:
            self.damaged.append(entry.key)
        return going

    def end(self, identity: str) -> None:
        """Write what has to be proved, and close."""
        whole, state = self.whole, f".{self._place.target.name}.transfer"
        for name, text in (("list", whole.checksums), ("line", whole.line + "\n")):
            data = text.encode()
            self._session.write(archive.header(f"{state}/{name}.{identity}", len(data)))
            self._session.write(data + archive.padding(len(data)))
        self._session.write(archive.END)
        self._session.close()

    def _name(self, key: str) -> str:
        return f"{self._place.target.name}.part/{key}"
