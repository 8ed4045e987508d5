"""The files that belong to one try of a task: the job that ecFlow wrote and what is kept beside its output.

Standard library only: this is imported for every job that ecFlow submits.

::

    ECF_JOB              the script, mode 0600 because it carries the task's password
    ECF_JOBOUT           its output
    ECF_JOBOUT.job       where it runs (`Running` on this machine, `Remote` elsewhere)
    ECF_JOBOUT.outcome   "complete" or "abort REASON" before ecFlow is told, plus "said" after it took it
    ECF_JOBOUT.stat      answer to ECF_STATUS_CMD
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_suite import atomic

PLACING, SUBMITTING, SUBMITTED, ENDED = "placing", "submitting", "submitted", "ended"
"""States of a `Remote`."""

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
class Remote:
    """A job of a remote scheduler, and how far its submission is."""

    host: str
    """Empty while none is chosen."""
    key: str
    """Name of this very submission by ecFlow: also the scheduler's name of the job."""
    folder: str
    """What the job keeps at the host, WORK/jobs/KEY."""
    ids: tuple[str, ...] = ()
    """The scheduler's numbers: one per link of a chain, then those submitted again after a node failed."""
    submitted: str = ""
    """Time of submission by the scheduler's clock; empty if it did not say."""
    state: str = PLACING
    """``placing``: nothing was sent; ``submitting``: it may have arrived; ``submitted``; ``ended``."""
    resubmissions: int = 0
    """How often it was submitted again after a node failed."""
    submitter: int = 0
    """Process that submits it."""
    submitter_started: int = 0
    rid: str = ""
    """What the job calls itself to ecFlow."""
    placed: str = ""
    """Why this host was chosen of several."""
    over: bool = False
    """Its work has ended there; what is left is to be sure that ecFlow knows."""

    @property
    def in_hand(self) -> bool:
        """Its submitter is at work."""
        return self.state in (PLACING, SUBMITTING) and alive(self.submitter, self.submitter_started)

    @property
    def orphaned(self) -> bool:
        """It was not submitted yet and its submitter is gone: somebody has to take it up again."""
        return self.state in (PLACING, SUBMITTING) and not self.in_hand


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
        """The process on this machine; None before submission, if it runs elsewhere or is unreadable."""
        try:
            return Running(**json.loads(self.beside(".job").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def remote(self) -> Remote | None:
        """The job of a remote scheduler; None before submission, if it runs here or is unreadable."""
        try:
            fields = json.loads(self.beside(".job").read_text())
            return Remote(**{**fields, "ids": tuple(fields["ids"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def remember(self, where: Running | Remote) -> None:
        """Write it atomically."""
        atomic.write(self.beside(".job"), json.dumps(asdict(where)), mode=0o600)

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

    @property
    def password(self) -> str | None:
        """What ecFlow gave this submission; None if the script is gone."""
        try:
            return self.credentials().get("ECF_PASS")
        except OSError:
            return None


def files_of(output: Path) -> JobFiles:
    """The files of a try by its output.

    >>> files_of(Path("/jobs/demo/train.2")).script
    PosixPath('/jobs/demo/train.job2')
    """
    return JobFiles(output.parent / f"{output.stem}.job{output.suffix.removeprefix('.')}", output)


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
