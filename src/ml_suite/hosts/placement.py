"""Which host takes a job that may run on several. Standard library only: it is asked at submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_suite.hosts.jobhost import JobHosts


@dataclass(frozen=True)
class Choice:
    """A host and why it was taken."""

    host: str
    reason: str


def choose(names: Sequence[str], hosts: JobHosts, kind: str, inputs: Sequence[str] = ()) -> Choice:
    """Choose one of the named hosts.

    Parameters
    ----------
    kind
        Kind of the job, a key of `JobHost.resources`.
    inputs
        Files that it reads, relative to the working folder.
    """
    return Choice(names[0], "the first that is named")
