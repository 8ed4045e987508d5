"""Short-lived SSH certificates: which one OpenSSH would use, and when it ends. Standard library only."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_VALID = re.compile(r"^\s*Valid: (?:from (?P<start>\S+) to (?P<end>\S+)|before (?P<before>\S+)|\S.*)$", re.M)


@dataclass(frozen=True)
class Certificate:
    """One certificate of the person."""

    place: str
    """File, or "the agent"."""
    start: datetime | None
    end: datetime | None
    """None: it does not end."""

    def seconds_left(self, now: datetime) -> float:
        """Seconds until it ends, negative after; endless ones have infinitely many."""
        return (self.end - now).total_seconds() if self.end else float("inf")

    def valid(self, now: datetime) -> bool:
        """It has begun and not ended."""
        return self.seconds_left(now) > 0 and (self.start is None or self.start <= now)


def parse(text: str, place: str) -> list[Certificate]:
    """Read what ``ssh-keygen -L`` printed with TZ=UTC; several certificates follow each other.

    >>> parse("        Valid: from 2026-11-21T01:30:00 to 2026-11-21T13:31:00", "x")[0].end
    datetime.datetime(2026, 11, 21, 13, 31, tzinfo=datetime.timezone.utc)
    >>> parse("        Valid: forever", "x")[0].end is None
    True
    """
    return [
        Certificate(place, _moment(match["start"]), _moment(match["end"] or match["before"]))
        for match in _VALID.finditer(text)
    ]


def best(files: Iterable[Path], agent: str | None) -> Certificate | None:
    """The certificate that lasts longest, of files and of an agent.

    Parameters
    ----------
    agent
        Socket of the agent; None: there is none.
    """
    found = [one for path in files if path.is_file() for one in parse(_keygen(["-f", str(path)]), str(path))]
    if agent:
        keys = _output(["ssh-add", "-L"], {"SSH_AUTH_SOCK": agent})
        found += parse(_keygen(["-f", "-"], "".join(_certificates(keys))), "the agent")
    now = datetime.now(UTC)
    return max(found, key=lambda one: one.seconds_left(now), default=None)


def _certificates(keys: str) -> list[str]:
    return [line for line in keys.splitlines(keepends=True) if "-cert-v01@" in line.split(" ", 1)[0]]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _keygen(arguments: list[str], text: str = "") -> str:
    return (
        _output(["ssh-keygen", "-L", *arguments], {"TZ": "UTC"}, text) if text or arguments[-1] != "-" else ""
    )


def _output(command: list[str], extra: dict[str, str], text: str = "") -> str:
    """What a command of OpenSSH prints; nothing if it fails or hangs."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=10,
            env={**os.environ, **extra},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
