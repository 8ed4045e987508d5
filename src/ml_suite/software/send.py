"""Send large files to a host over its open connection: only what it lacks, in pieces that it keeps, checked there.

Every command is safe to repeat: a piece is written at its place in the file, so a second copy of it, or one that comes
late, changes nothing. A piece is one short command, which no site's limit for login nodes ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ml_suite.errors import HostError
from ml_suite.hosts import channel
from ml_suite.hosts.ship import Member, packed
from ml_suite.quantities import format_bytes
from ml_suite.software.patience import Line

PIECE = 64 << 20
"""Bytes of one command."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]*(/[A-Za-z0-9][A-Za-z0-9_.+!-]*)*")
_DAMAGED = 70
"""Exit code for a file that is not what was sent."""

_LACKING = """\
mkdir -p "$1/.part" && cd "$1" || exit 1
# what nobody went on with for a week
find .part -mindepth 1 -maxdepth 1 -mmin +10080 -exec rm -rf {} + 2>/dev/null
while read -r sum size name; do
    have=$(stat -L -c %s "$name" 2>/dev/null) || have=
    [ "$have" != "$size" ] || continue
    part=$(stat -c %s ".part/$sum" 2>/dev/null) || part=0
    echo "$sum $part"
done
"""

_WRITE = """\
dd of="$1/.part/$2" bs=1M seek="$3" oflag=seek_bytes iflag=fullblock conv=notrunc status=none &&
    [ "$(stat -c %s "$1/.part/$2")" -ge "$4" ]
"""

_FINISH = f"""\
cd "$1" || exit 1
if [ -e ".part/$2" ]; then
    echo "$2  .part/$2" | nice sha256sum -c --status || {{ rm -f ".part/$2"; exit {_DAMAGED}; }}
    mkdir -p "$(dirname "$3")" && mv -f ".part/$2" "$3"
fi
"""

_UNPACK = f"""\
cd "$1/.part" && new=$(mktemp -d in.XXXXXX) || exit 1
trap 'rm -rf "$1/.part/$new"' EXIT
tar -xf - -C "$new" && cd "$new" || exit 1
sha256sum --quiet --strict -c .manifest >&2 || exit {_DAMAGED}
while read -r sum name; do
    mkdir -p "$1/$(dirname "$name")" && mv -f "$name" "$1/$name" || exit 1
done <.manifest
"""


@dataclass(frozen=True)
class File:
    """One file to send."""

    path: Path
    """On this machine."""
    name: str
    """Below the host's folder; it changes with the content."""
    sha256: str
    size: int
    """Bytes."""


def send(line: Line, files: Sequence[File], folder: PurePath) -> int:
    """Make sure that the host has FILES below FOLDER.

    Returns
    -------
    int
        Bytes that it did not have yet.

    Raises
    ------
    HostError
        If they cannot be written there, or arrive damaged twice; else as `channel.run`.
    """
    if wrong := [file.name for file in files if not _PLAIN.fullmatch(file.name)]:
        raise ValueError(f"{wrong[0]!r} is no plain name")
    sent = 0
    # a part that was there already may have been damaged long ago, so twice is worth trying
    for _ in range(2):
        lacking = _lacking(line, files, folder)
        if not lacking:
            return sent
        sent += _round(line, files, lacking, folder)
    if lacking := _lacking(line, files, folder):
        name = next(file.name for file in files if file.sha256 in lacking)
        raise HostError(
            f"{line.way.host}: {folder / name} is not what was sent",
            "Look at its disk and memory; run again.",
        )
    return sent


def _round(line: Line, files: Sequence[File], lacking: dict[str, int], folder: PurePath) -> int:
    wanted = list({file.sha256: file for file in files if file.sha256 in lacking}.values())
    todo = sum(max(0, file.size - lacking[file.sha256]) for file in wanted)
    sent = 0
    for part in _pieces(line, wanted, lacking, folder):
        sent += part
        line.say(f"sends {format_bytes(sent)} of {format_bytes(todo)}")
    return sent


def _lacking(line: Line, files: Sequence[File], folder: PurePath) -> dict[str, int]:
    """Digests of the files that are not there, with the bytes that are."""
    asked = "".join(f"{file.sha256} {file.size} {file.name}\n" for file in files)
    done = _run(line, _LACKING, folder, stdin=asked.encode())
    return {digest: int(have) for digest, have in (row.split() for row in done.out.splitlines())}


def _pieces(line: Line, files: Sequence[File], have: dict[str, int], folder: PurePath) -> Iterator[int]:
    """Send, and yield the bytes of each command."""
    small: list[File] = []
    for file in sorted(files, key=lambda f: f.size):
        if file.size < PIECE // 4 and not have[file.sha256]:
            if small and sum(f.size for f in small) + file.size > PIECE:
                yield _unpack(line, small, folder)
                small = []
            small.append(file)
            continue
        if small:
            yield _unpack(line, small, folder)
            small = []
        yield from _large(line, file, have[file.sha256], folder)
    if small:
        yield _unpack(line, small, folder)


def _unpack(line: Line, files: Sequence[File], folder: PurePath) -> int:
    members = {file.name: Member(file.path.read_bytes(), 0o644) for file in files}
    manifest = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    _run(line, _UNPACK, folder, stdin=packed({**members, ".manifest": Member(manifest.encode())}))
    return sum(file.size for file in files)


def _large(line: Line, file: File, start: int, folder: PurePath) -> Iterator[int]:
    with file.path.open("rb") as f:
        f.seek(start)
        while data := f.read(PIECE):
            _run(line, _WRITE, folder, file.sha256, str(start), str(start + len(data)), stdin=data)
            start += len(data)
            yield len(data)
    # reading ten gigabytes back takes a while
    _run(line, _FINISH, folder, file.sha256, file.name, timeout=300 + file.size / 20e6)


def _run(
    line: Line, script: str, folder: PurePath, *words: str, stdin: bytes | None = None, timeout: float = 600.0
) -> channel.Done:
    done = line.run(["sh", "-c", script, "send", str(folder), *words], stdin, timeout)
    if done.code not in (0, _DAMAGED):
        said = _reason(done.err)
        raise HostError(
            f"{line.way.host}: {folder} cannot be written: {said}",
            "Make room there or raise the quota, or name another folder: hosts.NAME.work.",
        )
    return done


def _reason(err: str) -> str:
    r"""Line that says why; tar says last that something was wrong.

    >>> _reason("tar: a: Cannot write: No space left on device\ntar: Exiting with failure status")
    'tar: a: Cannot write: No space left on device'
    """
    rows = [row.strip() for row in err.splitlines() if row.strip()] or ["no word"]
    return next((row for row in rows if "No space" in row or "quota" in row), rows[-1])
