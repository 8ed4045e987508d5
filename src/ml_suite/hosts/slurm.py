"""Jobs of a remote Slurm, over the open SSH connection.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

from ml_suite.hosts.jobfile import JobFiles, Remote
from ml_suite.hosts.states import Seen


def submit(job: JobFiles) -> int:
    """Start a process that submits the job, detached from ecFlow; returns its pid."""
    raise NotImplementedError


def resume(job: JobFiles) -> int | None:
    """Go on with a submission whose process died; None if there is nothing to go on with."""
    raise NotImplementedError


def resubmit(job: JobFiles) -> Remote:
    """Submit one more Slurm job for the same try, after a node failed.

    Raises
    ------
    MlSuiteError
        If Slurm refused, or it is not known whether it took it: then call it again, it is never submitted twice.
    """
    raise NotImplementedError


def describe(job: JobFiles) -> Seen:
    """What Slurm says of the job, in one round trip."""
    raise NotImplementedError


def status(job: JobFiles) -> str:
    """One sentence; fetches the end of the job's output."""
    raise NotImplementedError


def kill(job: JobFiles) -> str:
    """Cancel the job and say how it went.

    Raises
    ------
    MlSuiteError
        If the host could not be asked.
    """
    raise NotImplementedError
