"""Upload a store: what is missing or wrong is sent, every byte is proved, the manifest object comes last.

The manifest object beside the store (``s3://bucket/NAME.zarr.manifest.jsonl``) says that the store is
complete: it is taken away before anything is changed and put back when everything is proved. Nothing is
deleted by prefix; objects of an earlier manifest of ours are deleted by name, all others are left alone and
reported.
"""

from __future__ import annotations

import asyncio
import hashlib
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.errors import DeliveryError
from ml_suite.stores.connections import S3
from ml_suite.stores.journal import Journal, Seen
from ml_suite.stores.journal import path_for as journal_path
from ml_suite.stores.manifest import SUFFIX, Entry, Manifest, ProgressCallback, files, parse
from ml_suite.stores.s3 import DIGEST, Location, open_bucket, read_back, send, told
from ml_suite.stores.streams import Tally, TransferSummary, alone, run

if TYPE_CHECKING:
    from obstore.store import S3Store


class Verify(Enum):
    """How an uploaded store is proved.

    CHANGED
        Every object is read back and hashed once; one that was proved by an earlier run is believed as long
        as the server lists it with the same size, ETag and time. Finds everything but bits that rot silently
        on the server.
    ALL
        Every object is read back and hashed in this run, whatever earlier runs found.
    """

    CHANGED = "changed"
    ALL = "all"


def upload_store(
    folder: Path,
    url: str,
    manifest: Manifest,
    connection: S3,
    progress: ProgressCallback | None = None,
    *,
    verify: Verify = Verify.CHANGED,
    replace: bool = True,
) -> TransferSummary:
    """Make the store at URL be what MANIFEST says; safe to repeat and to kill.

    Parameters
    ----------
    progress
        Called with bytes done and bytes in all, at most twice a second, from any thread.
    replace
        Whether a complete store of other content at URL may be replaced.

    Raises
    ------
    DeliveryError
        If the folder is not what the manifest says, or the server is unreachable, refuses or keeps other
        bytes.
    """
    where = Location.parse(url)
    _check_folder(folder, manifest)
    journal = journal_path(folder, str(where), connection.endpoint)
    with (
        alone(journal.with_suffix(".lock")),
        told(f"upload to {where}", connection),
        Journal(journal) as notes,
    ):
        store = open_bucket(where.bucket, connection)
        obsolete = _unpublish(store, where, manifest, replace)
        work = _Upload(folder, where, store, notes, Tally(manifest.bytes, progress), _listing(store, where))
        work.send_all(manifest, verify)
        for key in obsolete:
            store.delete(f"{where.key}/{key}")
        extra = _check_listing(where, manifest, _listing(store, where))
        _publish(store, where, manifest)
        return work.tally.summary(extra)


class _Upload:
    def __init__(
        self,
        folder: Path,
        where: Location,
        store: S3Store,
        notes: Journal,
        tally: Tally,
        remote: dict[str, Seen],
    ) -> None:
        self.folder, self.where, self.store = folder, where, store
        self.notes, self.tally, self.remote = notes, tally, remote

    def send_all(self, manifest: Manifest, verify: Verify) -> None:
        todo = []
        for entry in manifest.entries:
            if verify is Verify.CHANGED and self.notes.believes(entry, self.remote):
                self.tally.skip(entry.size)
            else:
                todo.append(entry)
        run(todo, self._small, self._large)

    def _maybe_there(self, entry: Entry) -> bool:
        return (seen := self.remote.get(entry.key)) is not None and seen.size == entry.size

    async def _small(self, entry: Entry) -> None:
        key = f"{self.where.key}/{entry.key}"
        if self._maybe_there(entry) and await self._proved(entry, key):
            self.tally.skip(entry.size)
            return
        data = await asyncio.to_thread((self.folder / entry.key).read_bytes)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DeliveryError(f"{self.folder / entry.key} changed since its checksum was taken", _REBUILD)
        await self.store.put_async(key, data, attributes={DIGEST: entry.sha256}, use_multipart=False)
        if not await self._proved(entry, key):
            raise DeliveryError(f"s3://{self.where.bucket}/{key} does not hold what was sent", _OWNER)
        self.tally.moved(entry.size)

    async def _proved(self, entry: Entry, key: str) -> bool:
        answer = await self.store.get_async(key)
        right = hashlib.sha256(await answer.bytes_async()).hexdigest() == entry.sha256
        if right:
            self.notes.verified(entry, Seen.of(answer.meta))
        return right

    def _large(self, entry: Entry) -> None:
        key = f"{self.where.key}/{entry.key}"
        if self._maybe_there(entry) and self._large_proved(entry, key):
            self.tally.skip(entry.size)
            return
        send(self.store, self.folder / entry.key, key, entry.sha256)
        if not self._large_proved(entry, key):
            raise DeliveryError(f"s3://{self.where.bucket}/{key} does not hold what was sent", _OWNER)
        self.tally.moved(entry.size)

    def _large_proved(self, entry: Entry, key: str) -> bool:
        seen = Seen.of(self.store.head(key))
        right = read_back(self.store, key) == (entry.sha256, entry.size)
        if right:
            self.notes.verified(entry, seen)
        return right


_REBUILD = "Run the dataset's check and finalise tasks again, then this one."
_OWNER = "Run it again; if it repeats, tell whoever runs the object store."


def _check_folder(folder: Path, manifest: Manifest) -> None:
    sizes = dict(files(folder))
    for entry in manifest.entries:
        if sizes.get(entry.key) != entry.size:
            what = "is missing" if entry.key not in sizes else "has another size than its manifest says"
            raise DeliveryError(f"{folder / entry.key} {what}", _REBUILD)


def _listing(store: S3Store, where: Location) -> dict[str, Seen]:
    prefix = where.key + "/"
    return {
        meta["path"].removeprefix(prefix): Seen.of(meta)
        for batch in store.list(prefix=prefix)
        for meta in batch
    }


def _unpublish(store: S3Store, where: Location, manifest: Manifest, replace: bool) -> list[str]:
    """Take an older manifest away and return the keys that only it knew."""
    try:
        text = bytes(store.get(where.key + SUFFIX).bytes()).decode()
    except FileNotFoundError:
        return []
    if text == manifest.text:
        return []
    if not replace:
        raise DeliveryError(
            f"{where} holds other content already", "Give the dataset a new version in its name."
        )
    store.delete(where.key + SUFFIX)
    older = parse(text, f"{where}{SUFFIX}")
    return sorted(older.by_key.keys() - manifest.by_key.keys())


def _check_listing(where: Location, manifest: Manifest, remote: dict[str, Seen]) -> list[str]:
    for entry in manifest.entries:
        if entry.key not in remote or remote[entry.key].size != entry.size:
            raise DeliveryError(f"{where}/{entry.key} disappeared or changed during the upload", _OWNER)
    return sorted(remote.keys() - manifest.by_key.keys())


def _publish(store: S3Store, where: Location, manifest: Manifest) -> None:
    data = manifest.text.encode()
    store.put(where.key + SUFFIX, data, attributes={DIGEST: manifest.content_id}, use_multipart=False)
    if bytes(store.get(where.key + SUFFIX).bytes()) != data:
        raise DeliveryError(f"{where}{SUFFIX} does not hold what was sent", _OWNER)
