"""The content manifest of a store: what every file of it must be.

``NAME.zarr.manifest.jsonl`` lies beside the store. Its first line holds totals, every other line one file,
sorted by key, in one fixed spelling: the same content always gives the same bytes, and the sha256 of the
manifest is the *content id* of the dataset. A missing chunk of a zarr store reads as fill values without an
error, so only a list of names can tell that a store is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import DeliveryError

SUFFIX = ".manifest.jsonl"
_VERSION = 1
_BLOCK = 1 << 20
_THREADS = min(8, (os.cpu_count() or 2) * 2)

ProgressCallback = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True, order=True)
class Entry:
    """One file: key relative to the store with ``/``, size in bytes, sha256 in hexadecimal."""

    key: str
    size: int
    sha256: str

    def line(self) -> str:
        """Write the entry in its one spelling."""
        return json.dumps({"key": self.key, "sha256": self.sha256, "size": self.size}, separators=(",", ":"))


@dataclass(frozen=True)
class Manifest:
    """All files of a store, sorted by key."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        """Sort the entries.

        Raises
        ------
        DeliveryError
            If a key is there twice or leads out of the store.
        """
        ordered = tuple(sorted(entries, key=lambda entry: entry.key.encode()))
        for before, entry in zip((None, *ordered), ordered, strict=False):
            if before is not None and before.key == entry.key:
                raise DeliveryError(f"the manifest names {entry.key!r} twice")
            if entry.size < 0 or any(part in ("", ".", "..") for part in entry.key.split("/")):
                raise DeliveryError(f"the manifest names {entry.key!r}, which is no file of a store")
        return cls(ordered)

    @property
    def bytes(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def by_key(self) -> dict[str, Entry]:
        """Entries by their key."""
        return {entry.key: entry for entry in self.entries}

    @cached_property
    def text(self) -> str:
        """The manifest as written to disk."""
        header = {"bytes": self.bytes, "manifest": _VERSION, "objects": len(self.entries)}
        lines = [json.dumps(header, separators=(",", ":")), *(entry.line() for entry in self.entries)]
        return "\n".join(lines) + "\n"

    @property
    def content_id(self) -> str:
        """The sha256 of the manifest: equal for equal content, whatever the machine and the day."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the manifest atomically."""
        atomic.write(path, self.text)


@dataclass(frozen=True)
class Differences:
    """What is wrong with a store, as sorted keys."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    checksum: tuple[str, ...] = ()

    @property
    def damaged(self) -> tuple[str, ...]:
        """Keys that must be sent again; extra files harm nobody."""
        return tuple(sorted({*self.missing, *self.size, *self.checksum}))

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.size or self.checksum)

    def __str__(self) -> str:
        named = {
            "missing": self.missing,
            "extra": self.extra,
            "of wrong size": self.size,
            "of wrong checksum": self.checksum,
        }
        return ", ".join(
            f"{len(keys)} {what} ({keys[0]}{', …' * (len(keys) > 1)})" for what, keys in named.items() if keys
        )


def path_for(store: Path) -> Path:
    """Where the manifest of a store lies: beside it.

    >>> path_for(Path("a/x.zarr")).name
    'x.zarr.manifest.jsonl'
    """
    return store.with_name(store.name + SUFFIX)


def parse(text: str, where: str) -> Manifest:
    """Read a manifest.

    Raises
    ------
    DeliveryError
        If it is cut off or not a manifest.
    """
    try:
        header, *lines = [json.loads(line) for line in text.splitlines()]
        manifest = Manifest.of(Entry(x["key"], int(x["size"]), x["sha256"]) for x in lines)
        whole = (
            header["manifest"] == _VERSION
            and header["objects"] == len(lines)
            and header["bytes"] == manifest.bytes
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DeliveryError(
            f"{where} is not a manifest", "Build it again: the dataset's finalise task."
        ) from error
    if not whole:
        raise DeliveryError(f"{where} is cut off or altered", "Build it again: the dataset's finalise task.")
    return manifest


def load(path: Path) -> Manifest:
    """Read a manifest from disk.

    Raises
    ------
    DeliveryError
        If it is missing, cut off or not a manifest.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DeliveryError(f"{path} cannot be read", "The dataset's finalise task writes it.") from error
    return parse(text, str(path))


def build(store: Path, progress: ProgressCallback | None = None) -> Manifest:
    """Read all files of a store and take their checksums, several at once.

    Raises
    ------
    DeliveryError
        If the store is missing, empty, or holds something that is no regular file.
    """
    sizes = dict(files(store))
    if not sizes:
        raise DeliveryError(f"{store} is missing or empty")
    total = sum(sizes.values())
    done = 0
    entries = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry in pool.map(lambda key: entry_of(store, key), sizes):
            entries.append(entry)
            done += entry.size
            if progress:
                progress(done, total)
    return Manifest.of(entries)


def compare(expected: Manifest, found: Manifest) -> Differences:
    """Say what is wrong with FOUND."""
    there, wanted = found.by_key, expected.by_key
    both = sorted(there.keys() & wanted.keys())
    return Differences(
        missing=tuple(sorted(wanted.keys() - there.keys())),
        extra=tuple(sorted(there.keys() - wanted.keys())),
        size=tuple(key for key in both if there[key].size != wanted[key].size),
        checksum=tuple(
            key
            for key in both
            if there[key].size == wanted[key].size and there[key].sha256 != wanted[key].sha256
        ),
    )


def check(store: Path, expected: Manifest) -> Differences:
    """Compare a folder with a manifest; files whose size is wrong already are not read.

    Raises
    ------
    DeliveryError
        If the folder holds something that is no regular file.
    """
    sizes = dict(files(store))
    readable = [
        key for key, size in sizes.items() if key in expected.by_key and expected.by_key[key].size == size
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        read = {entry.key: entry for entry in pool.map(lambda key: entry_of(store, key), readable)}
    found = Manifest.of(read.get(key, Entry(key, size, "")) for key, size in sizes.items())
    return compare(expected, found)


def entry_of(store: Path, key: str) -> Entry:
    """Read one file block by block."""
    digest = hashlib.sha256()
    size = 0
    with (store / key).open("rb") as f:
        while block := f.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return Entry(key, size, digest.hexdigest())


def files(store: Path) -> Iterator[tuple[str, int]]:
    """Walk the keys and sizes of a store's files, in no order.

    Raises
    ------
    DeliveryError
        If the folder holds something that is no regular file.
    """
    pending = [str(store)] if store.is_dir() else []
    start = len(str(store)) + 1
    while pending:
        with os.scandir(pending.pop()) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    pending.append(item.path)
                elif item.is_file():
                    yield item.path[start:], item.stat().st_size
                else:
                    raise DeliveryError(
                        f"{item.path} is no regular file", "A store holds only files and folders."
                    )
