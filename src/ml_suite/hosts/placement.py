"""Which host takes a job that may run on several: asked when the job is submitted, and again while it was not sent.

Standard library only: this is imported for every job that ecFlow submits. Nothing is asked over the network: what is
known beside the server decides (open connection, pause after a refusal, data that arrived, jobs that are there).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_suite.errors import CredentialNeeded, HostBusy, HostError
from ml_suite.hosts import limits, mux, reach
from ml_suite.hosts.jobfile import ENDED, JobFiles, files_of
from ml_suite.hosts.jobhost import JobHost, JobHosts


class NoRoom(HostBusy):
    """No host can take the job now."""


@dataclass(frozen=True)
class Choice:
    """A host and why it was taken."""

    host: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A host that may be chosen, as it is now."""

    host: str
    closed: str = ""
    """Why nothing can be sent there; empty: it can."""
    lacks: str = ""
    """What is not there yet."""
    busy: int = 0
    """Jobs of the suite there that have not ended."""
    limit: int = 0
    """Most of them; 0: no limit."""
    spent: float = 0.0
    """GPU-hours that its jobs were given."""
    budget: float | None = None
    """GPU-hours that the deployment allows; None: any."""
    cost: float = 0.0
    """GPU-hours that this job is given."""

    @property
    def obstacle(self) -> str:
        """Why it cannot take the job now; empty: it can."""
        if self.closed or self.lacks:
            return self.closed or self.lacks
        if self.limit and self.busy >= self.limit:
            return f"{self.busy} of {self.limit} jobs there"
        if self.budget is not None and self.spent + self.cost > self.budget:
            return f"budget spent: {self.spent:.4g} of {self.budget:.4g} GPU-hours"
        return ""

    @property
    def share(self) -> float:
        """How full it is."""
        return self.busy / self.limit if self.limit else self.busy / 1000


def pick(candidates: Sequence[Candidate], key: str) -> Choice:
    """Choose the host that is least full of those that can take the job.

    Parameters
    ----------
    key
        What tells jobs apart: of hosts that are equally full, different jobs take different ones.

    Raises
    ------
    NoRoom
        If none can take it now; the message says why, host by host.

    >>> pick([Candidate("a", busy=2, limit=4), Candidate("b", busy=1, limit=8)], "x").host
    'b'
    """
    able = [one for one in candidates if not one.obstacle]
    told = "; ".join(f"{one.host}: {one.obstacle}" for one in candidates if one.obstacle)
    if not able:
        raise NoRoom(f"no host can take it: {told}", "It is placed as soon as one can.")
    least = min(one.share for one in able)
    equal = [one for one in able if one.share == least]
    taken = equal[int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(equal)]
    there = f"{taken.busy} of {taken.limit} jobs there" if taken.limit else f"{taken.busy} jobs there"
    return Choice(taken.host, f"{there}; {told}" if told else there)


def choose(names: Sequence[str], hosts: JobHosts, kind: str, job: JobFiles) -> Choice:
    """Choose one of the named hosts for a job.

    Parameters
    ----------
    kind
        Kind of the job, a key of `JobHost.resources`.

    Raises
    ------
    NoRoom
        If none can take it now.
    ConfigError
        If the suite does not know a host.
    """
    there = _there(hosts.home / "jobs" / hosts.suite.replace("-", "_"), job)
    found = [_candidate(name, hosts.host(name), hosts.work, kind, there) for name in names]
    return pick(found, str(job.output))


def gpu_hours(host: JobHost, kind: str) -> float:
    """GPU-hours that a job of this kind is given."""
    from ml_suite.quantities import duration

    ask = host.resources[kind]
    return ask.nodes * ask.gpus_per_node * duration(ask.walltime).total_seconds() / 3600


def _candidate(
    name: str, host: JobHost, work: Path, kind: str, there: Sequence[tuple[str, bool]]
) -> Candidate:
    cost = gpu_hours(host, kind)
    absent = [mark for mark in host.needs if not (work / mark).exists()]
    return Candidate(
        host=name,
        closed=_closed(name),
        lacks="its data have not arrived" if absent else "",
        busy=sum(where == name and going for where, going in there),
        limit=host.limit,
        # what a job did not use of its walltime is not known here: the budget is kept on the safe side
        spent=cost * sum(where == name for where, _ in there),
        budget=host.budget,
        cost=cost,
    )


def _closed(name: str) -> str:
    try:
        way = reach.known(name)
        if mux.listening(way):
            return ""
        mux.refuse_unattended(way)
    except CredentialNeeded as error:
        return f"{error.message} ({error.hint})"
    except HostError as error:
        return error.message
    left = limits.read(way.file("attempts.json")).pause(time.time())
    return f"not reached lately, next attempt in {left:.0f} s" if left else ""


def _there(folder: Path, job: JobFiles) -> list[tuple[str, bool]]:
    """Host of every other try of the suite that was sent to one, and whether it goes on."""
    files = (
        files_of(path.with_name(path.name.removesuffix(".job"))) for path in sorted(folder.rglob("*.job"))
    )
    sent = (one.remote for one in files if one.output != job.output)
    return [(w.host, w.state != ENDED and not w.over) for w in sent if w and w.host]
