"""Who runs which part of a stage: two processes never train the same trials at once, on one host or several.

A shard is held by a lock that the file system gives up when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ml_suite.errors import StudyError

Shard = tuple[int, int]
"""Number, from 0, and how many there are."""


def name(shard: Shard) -> str:
    """Name of the files of a shard.

    >>> name((2, 7))
    '2-of-7'
    """
    return f"{shard[0]}-of-{shard[1]}"


def overlap(a: Shard, b: Shard) -> bool:
    """Tell whether two shards have a cohort in common: a number that leaves the rest of both.

    >>> overlap((0, 1), (3, 7)), overlap((0, 2), (1, 4)), overlap((1, 2), (3, 4))
    (True, False, True)
    """
    return (a[0] - b[0]) % math.gcd(a[1], b[1]) == 0


@contextmanager
def claim(folder: Path, shard: Shard) -> Iterator[None]:
    """Hold a shard of the stage in FOLDER.

    Raises
    ------
    StudyError
        If another process runs it, or one that shares trials with it.
    """
    own = folder / f"{name(shard)}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = own.open("a+")
    except OSError as error:
        raise _unlocked(folder, error) from error
    with lock:
        with (folder / "gate.lock").open("w") as gate:
            try:
                fcntl.lockf(gate, fcntl.LOCK_EX)  # only for as long as it takes to look
            except OSError as error:
                raise _unlocked(folder, error) from error
            for path in sorted(folder.glob("*-of-*.lock")):
                other = _shard(path)
                if path == own or other is None or not overlap(shard, other):
                    continue
                with suppress(FileNotFoundError), path.open("r+") as probe:
                    _take(probe, path, other)
            _take(lock, own, shard)
        lock.truncate(0)
        lock.write(
            f"process {os.getpid()} on {platform.node()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        )
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


@dataclass(frozen=True)
class Holder:
    """A process that runs a shard of a stage."""

    stage: str
    """Folder of its record below the study's."""
    shard: Shard
    process: int
    host: str
    since: datetime
    here: bool
    """It runs on this host, now; of a process on another host only its claim is known."""


def holders(root: Path) -> list[Holder]:
    """Who works on the study in ROOT, by stage and shard; whoever was killed on this host is left out."""
    found = []
    for path in sorted([*root.glob("*/*-of-*.lock"), *root.glob("pilot/*/*-of-*.lock")]):
        holder = _holder(root, path)
        # to look at a lock of one's own would give it up
        own = holder is not None and holder.process == os.getpid()
        if holder is not None and (not holder.here or own or _held(path)):
            found.append(holder)
    return found


_CLAIM = re.compile(r"process (\d+) on (\S+) since (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


def _holder(root: Path, path: Path) -> Holder | None:
    shard = _shard(path)
    try:
        told = _CLAIM.match(path.read_text())
    except OSError:
        return None
    if shard is None or told is None:
        return None
    return Holder(
        stage=path.parent.relative_to(root).as_posix(),
        shard=shard,
        process=int(told[1]),
        host=told[2],
        since=datetime.fromisoformat(told[3]).replace(tzinfo=UTC),
        here=told[2] == platform.node(),
    )


def _held(path: Path) -> bool:
    """Tell whether a process holds a lock, without being in the way of one that wants it."""
    try:
        with (path.parent / "gate.lock").open() as gate, path.open() as probe:
            fcntl.lockf(gate, fcntl.LOCK_SH)
            fcntl.lockf(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False


def _take(file: IO[str], path: Path, shard: Shard) -> None:
    try:
        # a record lock: unlike flock it does not stay with children that outlive this process
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise _unlocked(path.parent, error) from error
        holder = path.read_text().strip() or "another process"
        what = f"shard {shard[0] + 1}/{shard[1]}" if shard[1] > 1 else "all of it"
        raise StudyError(
            f"{path.parent} is being worked on: {what}, by {holder}",
            "Wait for it or end it; shards that it does not run can run beside it.",
        ) from error


def _unlocked(folder: Path, error: OSError) -> StudyError:
    return StudyError(
        f"{folder} cannot be locked: {(error.strerror or str(error)).lower()}",
        "Choose a folder on a file system that can lock files: --folder",
    )


def _shard(path: Path) -> Shard | None:
    found = re.fullmatch(r"(\d+)-of-(\d+)\.lock", path.name)
    return (int(found[1]), int(found[2])) if found else None
