"""Put a tree of files at a host: one tar over the open connection, checked there, in place by one rename.

Standard library only: it is done for a job that ecFlow submits when the host lost the files, or never had them.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_suite.errors import HostError
from ml_suite.hosts import channel, limits
from ml_suite.hosts.reach import Reach

TIMEOUT = 600.0
MANIFEST = ".manifest"
"""In every tree: digest and name of each file, as ``sha256sum`` writes them."""

# a tree that is in place is never changed: its name holds a digest of its content
_THERE = '[ -e "$THERE/.manifest" ]'

_UNPACK = """\
trap '' HUP PIPE
trap 'rm -rf "$NEW"' EXIT
umask 077
NEW=$THERE.$(uname -n).$$
mkdir -p "$NEW" && tar -xf - -C "$NEW" || { echo "cannot write $NEW" >&2; exit 1; }
(cd "$NEW" && sha256sum --quiet --strict -c .manifest) >&2 || exit 1
# what was left there without a manifest is no whole tree
[ -e "$THERE/.manifest" ] || [ ! -e "$THERE" ] || mv -T "$THERE" "$THERE.broken.$$" || exit 1
mv -T "$NEW" "$THERE" 2>/dev/null || [ -e "$THERE/.manifest" ] || { echo "cannot make $THERE" >&2; exit 1; }
rm -rf "$THERE.broken.$$"
"""

_WHOLE = 'cd "$THERE" 2>/dev/null && sha256sum --quiet --strict -c .manifest >/dev/null 2>&1'


class NotWritten(HostError):
    """The host's disk did not take the files."""


@dataclass(frozen=True)
class Member:
    """One file of a tar."""

    content: bytes
    mode: int = 0o600


def tree(way: Reach, here: Path, names: Sequence[str] | None, there: Path | str) -> bool:
    """Copy files to the host, all or nothing; safe to repeat, also at the same time.

    Parameters
    ----------
    here
        Folder of this machine.
    names
        Files below it; None: all.
    there
        Folder of the host, made by this; its name changes with its content.

    Returns
    -------
    bool
        False if it was there already.

    Raises
    ------
    NotWritten
        If the host's disk does not take it; else as `channel.run`.
    """
    place = f"THERE={shlex.quote(str(there))}\n"
    # sixteen jobs that start together bring their files once
    with limits.exclusive(way.file("ship"), TIMEOUT):
        if channel.run(way, place + _THERE).code == 0:
            return False
        done = channel.run(way, place + _UNPACK, stdin=packed(_files(here, names)), timeout=TIMEOUT)
    if done.code:
        said = next((line for line in reversed(done.err.splitlines()) if line.strip()), "no word")
        raise NotWritten(
            f"{way.host}: {there} cannot be written: {said.strip()}", "Look at its folder and quota."
        )
    return True


def whole(way: Reach, there: Path | str) -> bool:
    """Whether a tree is there and every file as it was sent.

    Raises
    ------
    MlSuiteError
        As `channel.run`.
    """
    return channel.run(way, f"THERE={shlex.quote(str(there))}\n{_WHOLE}", timeout=TIMEOUT).code == 0


def packed(files: Mapping[str, Member]) -> bytes:
    """A tar of files by their names; nothing in it depends on the clock or on who made it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, member in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(member.content), member.mode
            tar.addfile(entry, io.BytesIO(member.content))
    return buffer.getvalue()


def _files(here: Path, names: Sequence[str] | None) -> dict[str, Member]:
    if names is None:
        found = (path.relative_to(here) for path in here.rglob("*") if path.is_file())
        names = [str(path) for path in found if path.suffix != ".pyc"]
    members = {name: _member(here / name) for name in sorted(names)}
    digests = "".join(f"{hashlib.sha256(m.content).hexdigest()}  {name}\n" for name, m in members.items())
    # the last one: an end that comes too early is seen
    return {**members, MANIFEST: Member(digests.encode())}


def _member(path: Path) -> Member:
    content = path.read_bytes()
    runs = path.stat().st_mode & stat.S_IXUSR or content.startswith(b"#!")
    return Member(content, 0o700 if runs else 0o600)
