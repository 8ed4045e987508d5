"""Download a store into NAME.part, prove every byte against the manifest, and only then give it its name."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.errors import DeliveryError
from ml_suite.quantities import format_bytes
from ml_suite.stores.connections import S3
from ml_suite.stores.manifest import (
    SUFFIX,
    Entry,
    Manifest,
    ProgressCallback,
    check,
    files,
    parse,
    path_for,
)
from ml_suite.stores.s3 import Location, fetch, open_bucket, told
from ml_suite.stores.streams import SMALL, Tally, TransferSummary, alone, run

if TYPE_CHECKING:
    from obstore.store import S3Store

_SYNCS_AT_ONCE = 16
_AGAIN = "Upload it again (the dataset's upload task finds and replaces it), then run this one again."


def download_store(
    url: str,
    folder: Path,
    manifest: Manifest | None,
    connection: S3,
    progress: ProgressCallback | None = None,
) -> TransferSummary:
    """Make FOLDER be what the store at URL is; safe to repeat and to kill.

    What an earlier run left in ``NAME.part`` is hashed and kept when right. A folder that is there already
    and differs from the manifest loses its name until it is repaired. The manifest is written beside the
    folder.

    Parameters
    ----------
    manifest
        What the store must be; None takes the word of the manifest at URL.

    Raises
    ------
    DeliveryError
        If the store at URL is incomplete, damaged or of other content; if the server or the disk fails.
    """
    where = Location.parse(url)
    with alone(folder.with_name(f".{folder.name}.download.lock")), told(f"download of {where}", connection):
        store = open_bucket(where.bucket, connection)
        wanted = _published(store, where, manifest)
        tally = Tally(wanted.bytes, progress)
        if folder.exists() and _is_right(folder, wanted, tally):
            wanted.save(path_for(folder))
            return tally.summary()
        part = _prepare(folder)
        work = _Download(part, where, store, tally)
        work.fetch_all(wanted)
        _sync_all(part)
        wanted.save(path_for(folder))
        part.rename(folder)
        _sync(folder.parent)
        return tally.summary()


class _Download:
    def __init__(self, part: Path, where: Location, store: S3Store, tally: Tally) -> None:
        self.part, self.where, self.store, self.tally = part, where, store, tally
        self.lock = threading.Lock()
        self.damaged: list[str] = []

    def fetch_all(self, wanted: Manifest) -> None:
        todo = _todo(self.part, wanted)
        for entry in wanted.entries:
            if entry.key not in todo:
                self.tally.skip(entry.size)
        _check_room(self.part, sum(entry.size for entry in todo.values()))
        for parent in sorted({(self.part / key).parent for key in todo}):
            parent.mkdir(parents=True, exist_ok=True)
        run(todo.values(), self._small, self._large)
        if self.damaged:
            names = ", ".join(sorted(self.damaged)[:3]) + (", …" if len(self.damaged) > 3 else "")
            raise DeliveryError(
                f"{self.where}: {len(self.damaged)} objects are missing or damaged: {names}", _AGAIN
            )

    async def _small(self, entry: Entry) -> None:
        try:
            answer = await self.store.get_async(f"{self.where.key}/{entry.key}")
            data = bytes(await answer.bytes_async())
        except FileNotFoundError:
            self._damage(entry)
            return
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            self._damage(entry)
            return
        # in a thread: making a file takes a while on a parallel file system
        await asyncio.to_thread((self.part / entry.key).write_bytes, data)
        self.tally.moved(entry.size)

    def _large(self, entry: Entry) -> None:
        path = _beginning(self.part, entry)
        begun = path.stat().st_size if path.exists() else 0
        try:
            found, size = fetch(self.store, f"{self.where.key}/{entry.key}", path)
            if found != entry.sha256 and begun:
                # the beginning may be of another object: once more from the start
                path.unlink()
                found, size = fetch(self.store, f"{self.where.key}/{entry.key}", path)
        except FileNotFoundError:
            self._damage(entry)
            return
        if (found, size) != (entry.sha256, entry.size):
            path.unlink()
            self._damage(entry)
            return
        path.rename(self.part / entry.key)
        self.tally.moved(entry.size - begun if begun < entry.size else 0)

    def _damage(self, entry: Entry) -> None:
        with self.lock:
            self.damaged.append(entry.key)


def _published(store: S3Store, where: Location, manifest: Manifest | None) -> Manifest:
    try:
        text = bytes(store.get(where.key + SUFFIX).bytes()).decode()
    except FileNotFoundError as error:
        message = f"{where} is not there or not complete: {where}{SUFFIX} is missing"
        raise DeliveryError(message, "Run the dataset's upload task.") from error
    published = parse(text, f"{where}{SUFFIX}")
    if manifest is not None and manifest.text != published.text:
        message = f"{where} holds content {published.content_id[:12]}, wanted is {manifest.content_id[:12]}"
        raise DeliveryError(message, "Run the dataset's upload task.")
    return published


def _is_right(folder: Path, wanted: Manifest, tally: Tally) -> bool:
    if check(folder, wanted):
        return False
    for entry in wanted.entries:
        tally.skip(entry.size)
    return True


def _prepare(folder: Path) -> Path:
    part = folder.with_name(folder.name + ".part")
    if folder.exists():
        # what is wrong must not keep the name; what is right in it is kept
        if part.exists():
            shutil.rmtree(part)
        folder.rename(part)
    part.mkdir(parents=True, exist_ok=True)
    return part


def _beginning(part: Path, entry: Entry) -> Path:
    """Where a large file grows; a key of the store cannot have this name by accident."""
    return (part / entry.key).with_name(f".{entry.sha256[:16]}.beginning")


def _todo(part: Path, wanted: Manifest) -> dict[str, Entry]:
    """Hash what is there, remove what is in the way, and return the entries to fetch."""
    wrong = check(part, wanted)
    begun = {str(_beginning(part, x).relative_to(part)) for x in wanted.entries if x.size > SMALL}
    for key in wrong.extra:
        if key not in begun:
            (part / key).unlink()
    return {key: wanted.by_key[key] for key in wrong.damaged}


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part).free
    if needed > free:
        message = f"{part} needs {format_bytes(needed)} and the disk has {format_bytes(free)}: it is full"
        raise DeliveryError(message, "Make room and run the task again: what is there and right is kept.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(part: Path) -> None:
    """Put files and folders on the disk.

    Once, at the end: file by file costs three times as much, and a file that a crash has damaged before is found by
    the next run, which hashes everything that it keeps.
    """
    keys = [key for key, _ in files(part)]
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(lambda key: _sync(part / key), keys))
    for folder in {(part / key).parent for key in keys} | {part}:
        _sync(folder)
