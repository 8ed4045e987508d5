"""Take checksums of objects in S3 by reading them, whatever their metadata says."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.stores.connections import S3
from ml_suite.stores.s3 import Location, fetch, open_bucket, read_back, told

if TYPE_CHECKING:
    from obstore.store import S3Store

    from ml_suite.stores.manifest import Entry, Manifest

_AT_ONCE = 8


def sha256(content: bytes) -> str:
    """Checksum in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read(url: str, connection: S3) -> bytes:
    """Read a small object.

    Raises
    ------
    DeliveryError
        If it is missing or the server does not answer.
    """
    where = Location.parse(url)
    with told(f"read {url}", connection):
        return bytes(open_bucket(where.bucket, connection).get(where.key).bytes())


def digest(url: str, connection: S3) -> str:
    """Read an object of any size and return its sha256.

    Raises
    ------
    DeliveryError
        If it is missing or the server does not answer.
    """
    where = Location.parse(url)
    with told(f"read {url}", connection):
        return read_back(open_bucket(where.bucket, connection), where.key)[0]


@contextmanager
def downloaded(url: str, connection: S3) -> Iterator[tuple[Path, str]]:
    """Keep a copy of an object in a temporary file; yields its path and sha256.

    Raises
    ------
    DeliveryError
        If it is missing or the server does not answer.
    """
    where = Location.parse(url)
    with tempfile.TemporaryDirectory(prefix="ml-suite-") as folder:
        path = Path(folder) / "object"
        with told(f"read {url}", connection):
            found, _ = fetch(open_bucket(where.bucket, connection), where.key, path)
        yield path, found


def differing(url: str, manifest: Manifest, connection: S3) -> list[str]:
    """Read every object of a store; returns the keys of those that are missing or not as listed.

    Raises
    ------
    DeliveryError
        If the server does not answer.
    """
    where = Location.parse(url)
    with told(f"read {url}", connection), ThreadPoolExecutor(_AT_ONCE) as pool:
        store = open_bucket(where.bucket, connection)
        right = pool.map(lambda entry: _holds(store, where.key, entry), manifest.entries)
        return [entry.key for entry, ok in zip(manifest.entries, right, strict=True) if not ok]


def _holds(store: S3Store, prefix: str, entry: Entry) -> bool:
    try:
        return read_back(store, f"{prefix}/{entry.key}") == (entry.sha256, entry.size)
    except FileNotFoundError:
        return False
