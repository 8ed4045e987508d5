"""Fetched commands that wait for the server, and those that a person has to look at; on disk, private."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from ml_suite import atomic
from ml_suite.relay.pull import unpack
from ml_suite.relay.spool import split

KEEP_SECONDS = 600.0
"""A crashed server goes on from its last checkpoint; ecFlow writes one every two minutes."""


class Inbox:
    """Batches of fetched files (one archive and one fsync each), and parked files with their reasons."""

    def __init__(self, state: Path) -> None:
        self._batches = state / "inbox"
        self._said = state / "said"
        self._parked = state / "parked"
        for folder in (state, self._batches, self._said, self._parked):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> dict[Path, dict[str, bytes]]:
        """All batches, the oldest first."""
        return {path: unpack(path.read_bytes())[0] for path in sorted(self._batches.glob("*.tar"))}

    def store(self, files: Mapping[str, bytes]) -> Path:
        """Keep a batch; when this returns it outlives a crash of the machine."""
        folders = (self._batches, self._said)
        last = max((int(path.stem) for folder in folders for path in folder.glob("*.tar")), default=0)
        path = self._batches / f"{last + 1:012d}.tar"
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        atomic.write(path, data.getvalue(), 0o600)
        return path

    def said(self, path: Path) -> None:
        """Keep a batch of which all is said for as long as a crash of the server might undo it."""
        path.touch()
        path.rename(self._said / path.name)
        for old in self._said.glob("*.tar"):
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                old.unlink()

    def load_said(self) -> dict[str, bytes]:
        """Files that were said lately."""
        batches = [unpack(path.read_bytes())[0] for path in sorted(self._said.glob("*.tar"))]
        return {name: content for files in batches for name, content in files.items()}

    def park(self, name: str, content: bytes, reason: str) -> None:
        """Put a file aside with the reason."""
        atomic.write(self._parked / f"{name}.reason", reason + "\n", 0o600)
        atomic.write(self._parked / name, content, 0o600)

    def parked(self) -> dict[str, str]:
        """Reasons of the files that were put aside, by name."""
        names = (path.name for path in sorted(self._parked.iterdir()) if split(path.name))
        return {name: (self._parked / f"{name}.reason").read_text().strip() for name in names}

    def read_parked(self, name: str) -> bytes:
        """Content of a file that was put aside."""
        return (self._parked / name).read_bytes()

    def forget(self, name: str) -> None:
        """Delete a file that was put aside."""
        (self._parked / name).unlink(missing_ok=True)
        (self._parked / f"{name}.reason").unlink(missing_ok=True)
