"""The files that belong to one try of a task: the job that ecFlow wrote and what is kept beside its output.

Standard library only: this is imported for every job that ecFlow submits.

::

    ECF_JOB              the script, mode 0600 because it carries the task's password
    ECF_JOBOUT           its output
    ECF_JOBOUT.job       where it runs (`Running`)
    ECF_JOBOUT.outcome   "complete" or "abort REASON" before ecFlow is told, plus "said" after it took it
    ECF_JOBOUT.stat      answer to ECF_STATUS_CMD
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_suite import atomic

_EXPORT = re.compile(r"^export (ECF_[A-Z]+)='?([^'\n]*)'?$", re.MULTILINE)


@dataclass(frozen=True)
class Running:
    """A process, told apart from a later one with the same pid by its start time."""

    pid: int
    started: int
    """Clock ticks since boot, field 22 of /proc/PID/stat."""
    keeper: int
    """Process that waits for it."""
    keeper_started: int


@dataclass(frozen=True)
class JobFiles:
    """One try of one task."""

    script: Path
    output: Path

    def beside(self, ending: str) -> Path:
        """File next to the output."""
        return self.output.with_name(self.output.name + ending)

    @property
    def running(self) -> Running | None:
        """What was written at submission; None before it or if it is unreadable."""
        try:
            return Running(**json.loads(self.beside(".job").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def remember(self, running: Running) -> None:
        """Write it atomically."""
        atomic.write(self.beside(".job"), json.dumps(asdict(running)), mode=0o600)

    @property
    def outcome(self) -> tuple[str, bool]:
        """What the job wanted to tell ecFlow, and whether ecFlow took it; empty while it runs."""
        try:
            lines = self.beside(".outcome").read_text().splitlines()
        except OSError:
            return "", False
        return (lines[0] if lines else ""), "said" in lines[1:]

    def credentials(self) -> dict[str, str]:
        """ECF_* variables that the script exports, to speak for the job; never to be printed."""
        return dict(_EXPORT.findall(self.script.read_text()))


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether this very process still runs."""
    return start_time(pid) == started
