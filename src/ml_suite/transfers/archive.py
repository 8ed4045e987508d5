"""A tar archive as a stream of bytes, of names that are known to be harmless."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

_BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * _BLOCK)
"""What ends an archive."""


def header(name: str, size: int) -> bytes:
    """Beginning of a regular file of SIZE bytes; names of any length, sizes above 8 GiB too."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What follows the last byte of a file."""
    return bytes(-size % _BLOCK)


def whole(name: str, data: bytes) -> Iterator[bytes]:
    """A file that is in memory."""
    yield header(name, len(data)) + data + padding(len(data))
