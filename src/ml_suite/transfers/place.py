"""The folder of a dataset at a host: one round trip per question, each safe to ask again."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn

from ml_suite.errors import DeliveryError, HostError
from ml_suite.home import home
from ml_suite.hosts import channel
from ml_suite.hosts.reach import Reach
from ml_suite.quantities import format_bytes
from ml_suite.stores.manifest import Manifest
from ml_suite.transfers import scripts
from ml_suite.transfers.shards import Shard, listing, proved

_SECONDS = 600.0
"""A parallel file system takes its time over a hundred thousand files."""
_FULL = re.compile(r"No space left|[Qq]uota exceeded|File too large")


class Locked(DeliveryError):
    """Another machine's transfer of this dataset is writing there."""


@dataclass(frozen=True)
class Found:
    """What is at the host."""

    right: bool = False
    """The dataset is complete: names, sizes and manifest are as wanted."""
    stored: bool = False
    """It has its name; otherwise it is on its way or not there."""
    known: bool = False
    """The manifest beside it is the wanted one."""
    free: int = 0
    """Bytes free in its file system."""
    proved: frozenset[int] = frozenset()
    """Numbers of files that are there with their size and were proved."""
    unproved: frozenset[int] = frozenset()
    """Numbers of files that are there with their size."""
    extra: tuple[str, ...] = ()
    """Names that are not in the manifest."""


@dataclass(frozen=True)
class Target:
    """A dataset's place at a host."""

    way: Reach
    folder: PurePosixPath
    """Folder of the datasets."""
    name: str
    """NAME.zarr"""

    @property
    def path(self) -> PurePosixPath:
        """Where the dataset will be."""
        return self.folder / self.name

    def __str__(self) -> str:
        return f"{self.way.host}:{self.path}"


class Place:
    """One transfer's view of a target; raises what `channel.run` raises, and `DeliveryError`."""

    def __init__(self, target: Target, wanted: Manifest) -> None:
        self.target, self.wanted = target, wanted
        self._digest = listing(wanted)
        self._token = ""

    def begin(self, quick: bool, forget: bool = False) -> Found:
        """Look, and take the lock unless everything is right already.

        Parameters
        ----------
        quick
            Believe a complete dataset whose names and sizes are right.
        forget
            Believe nothing that was proved before.

        Raises
        ------
        Locked
            If another machine is at it.
        """
        # a new one each time: a script that an earlier connection left behind has lost the lock
        self._token = f"{machine()}.{secrets.token_hex(6)}"
        values = {"quick": int(quick), "forget": int(forget), "stale": scripts.STALE}
        text = self.text(scripts.BEGIN, digest=self._digest, **values)
        word, rest, lines = self._ask(text)
        if word == "right":
            return Found(right=True, stored=True, known=True)
        if word == "locked":
            holder, _, age = rest.partition(" ")
            where = self.target.folder / f".{self.target.name}.transfer" / "lock"
            raise Locked(
                f"{self.target}: another transfer is writing there ({holder}, last sign of life {age} s ago)",
                f"Wait for it; if it is dead, remove {where} at the host.",
            )
        if word != "free" or not rest.isdigit() or not lines or not lines[0].startswith("where "):
            self._refuse(word, rest, lines)
        return self._found(int(rest) * 1024, lines[0].removeprefix("where "), lines[1:])

    def check(self, shard: Shard) -> list[str]:
        """Prove files where they lie; returns the keys that are wrong, and notes the shard when none is."""
        text = self.text(scripts.CHECK, line=shard.line, count=len(shard.entries))
        return self.bad(shard, *self._ask(text, shard.checksums))

    def note(self, shards: list[Shard]) -> None:
        """Replace the journal: only these are proved."""
        self._done(self._ask(self.text(scripts.NOTE), "".join(f"{shard.line}\n" for shard in shards)))

    def open(self, extra: tuple[str, ...] = ()) -> None:
        """Take the dataset's name away until it is right, and remove what does not belong to it."""
        names = "".join(f"{name}\0" for name in extra).encode()
        self._done(self._ask(self.text(scripts.OPEN, bytes=len(names)), names))

    def finish(self, extra: bool = False) -> bool:
        """Give the dataset its name and its manifest; False if names or sizes are not right.

        Parameters
        ----------
        extra
            It holds files that are not in the manifest, and may.
        """
        text = self.text(scripts.FINISH, digest=self._digest, extra="true" if extra else "false")
        answer = self._ask(text, self.wanted.text)
        if answer[0] == "differs":
            return False
        self._done(answer)
        return True

    def leave(self) -> None:
        """Give the lock back."""
        self._done(self._ask(self.text(scripts.LEAVE)))

    def text(self, body: str, **values: str | int) -> str:
        """Script for this target."""
        target = self.target
        return scripts.script(
            body, str(target.folder), target.name, self.wanted.content_id, self._token, **values
        )

    def bad(self, shard: Shard, word: str, rest: str, lines: list[str]) -> list[str]:
        """Keys of a shard that an answer says are wrong."""
        if word == "ok":
            return []
        if word != "bad":
            self._refuse(word, rest, lines)
        # sha256sum marks names with a backslash by one before them, and doubles it
        named = {line.rpartition(": FAILED")[0] for line in lines}
        keys = [
            entry.key
            for entry in shard.entries
            if named & {f"./{entry.key}", "\\./" + entry.key.replace("\\", "\\\\")}
        ]
        if not keys or len(keys) < len(lines):
            raise HostError(f"{self.target}: the checksums were not compared to the end: {lines[-1]}")
        return keys

    def _found(self, free: int, where: str, lines: list[str]) -> Found:
        sizes = {
            name.removeprefix("./"): size
            for line in lines
            if line.startswith("F")
            for size, _, name in [line[1:].partition(" ")]
        }
        there = {
            number
            for number, entry in enumerate(self.wanted.entries)
            if sizes.get(entry.key) == str(entry.size)
        }
        good = proved((line[1:] for line in lines if line.startswith("J")), self.wanted) & there
        return Found(
            stored=where in ("store", "unknown"),
            known=where == "store",
            free=free,
            proved=frozenset(good),
            unproved=frozenset(there - good),
            extra=tuple(sorted(sizes.keys() - self.wanted.by_key.keys())),
        )

    def _ask(self, text: str, stdin: str | bytes | None = None) -> tuple[str, str, list[str]]:
        done = channel.run(self.target.way, text, stdin, timeout=_SECONDS)
        return self.answer(done.code, done.out, done.err)

    def answer(self, code: int, out: str, err: str) -> tuple[str, str, list[str]]:
        """First word, rest of the first line, other lines of what a script said.

        Raises
        ------
        HostError
            If it did not come to an answer.
        """
        first, *lines = out.split("\n") if out else [""]
        if code or not first:
            said = " ".join(err.split()[-40:]) or f"exit code {code}"
            raise HostError(
                f"{self.target}: the transfer's script failed: {said}",
                f"Run: ml-suite hosts check {self.target.way.host}",
            )
        word, _, rest = first.partition(" ")
        return word, rest, [line for line in lines if line]

    def _done(self, answer: tuple[str, str, list[str]]) -> None:
        if answer[0] != "ok":
            self._refuse(*answer)

    def _refuse(self, word: str, rest: str, lines: list[str]) -> NoReturn:
        if word == "lost":
            raise DeliveryError(
                f"{self.target}: another transfer took this one's place", "Run one of them only; it goes on."
            )
        said = " ".join(lines)[-300:]
        if word == "broken" and (_FULL.search(said) or rest == "0"):
            left = format_bytes(int(rest) * 1024) if rest.isdigit() else "nothing"
            raise full(self.target, f"{said}; {left} free")
        raise HostError(
            f"{self.target}: {said or word}", "Look at the folder, its owner and your quota there."
        )


def full(target: Target, said: str) -> DeliveryError:
    """The error for a disk without room."""
    hint = "Make room there and run the task again: what is there and right is kept."
    return DeliveryError(f"{target}: the disk is full or a quota is reached ({said})", hint)


def machine() -> str:
    """Who we are in a lock: this machine and this installation, in letters that a shell leaves alone.

    Two transfers of one installation never meet at a host: a lock of this machine keeps them apart.
    """
    name = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:60]
    return f"{name}-{os.getuid()}-{hashlib.sha256(str(home()).encode()).hexdigest()[:8]}"
