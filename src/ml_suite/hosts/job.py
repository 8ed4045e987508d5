"""What ecFlow calls for every job: ``python -I -S .../hosts/job.py submit|status|kill|sweep ...``.

Standard library only and run as a file, so that a start costs no more than Python's own. A submission that fails aborts
the task at once with the reason: ecFlow itself would leave it submitted until the next minute and never say why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.hosts.jobfile import JobFiles
from ml_suite.hosts.voice import say

USAGE = """\
usage: job.py submit|status|kill SCHEDULER ECF_JOB ECF_JOBOUT
       job.py resume slurm ECF_JOB ECF_JOBOUT
       job.py sweep local FOLDER

SCHEDULER is local or slurm.

submit   start the job; if that fails, abort its task with the reason
status   write the job's state to ECF_JOBOUT.stat
kill     stop the job and all that it started; exit code 1 if it is not known whether it stopped
resume   take up a submission whose process died
sweep    abort the tasks of jobs below FOLDER that vanished without a word
"""

SCHEDULERS = ("local", "slurm")


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    match arguments:
        case ["sweep", "local", folder]:
            return _sweep(Path(folder))
        case ["resume", "slurm", script, output]:
            return _resume(JobFiles(Path(script), Path(output)))
        case ["submit" | "status" | "kill" as verb, scheduler, script, output] if scheduler in SCHEDULERS:
            job = JobFiles(Path(script), Path(output))
            return {"submit": _submit, "status": _status, "kill": _kill}[verb](job, scheduler)
    print(USAGE, end="", file=sys.stderr)
    return 2


def _submit(job: JobFiles, scheduler: str) -> int:
    try:
        pid = _scheduler(scheduler).submit(job)
    except OSError as error:
        print(f"submission failed: {error}", file=sys.stderr)
        # exit 0: the server would otherwise abort the task a second time with a poorer reason
        return 0 if say(job, f"abort submission failed: {error}", patience=60) else 1
    print(f"submitted to {scheduler}, pid {pid}")
    return 0


def _status(job: JobFiles, scheduler: str) -> int:
    answer = _scheduler(scheduler).status(job)
    atomic.write(job.beside(".stat"), answer + "\n", mode=0o600)
    print(answer)
    return 0


def _kill(job: JobFiles, scheduler: str) -> int:
    try:
        print(_scheduler(scheduler).kill(job))
    except MlSuiteError as error:
        print(f"the host could not be asked: {error.message}")
        return 1
    return 0


def _resume(job: JobFiles) -> int:
    from ml_suite.hosts import slurm

    try:
        pid = slurm.resume(job)
    except OSError as error:
        print(f"not taken up: {error}", file=sys.stderr)
        return 1
    print(f"taken up again, pid {pid}" if pid else "nothing to take up")
    return 0


def _sweep(folder: Path) -> int:
    from ml_suite.hosts import local

    for line in local.sweep(folder):
        print(line)
    return 0


class _Scheduler(Protocol):
    """What every scheduler can do with a job."""

    def submit(self, job: JobFiles) -> int: ...

    def status(self, job: JobFiles) -> str: ...

    def kill(self, job: JobFiles) -> str: ...


def _scheduler(name: str) -> _Scheduler:
    """Module of a scheduler: the other one is not even read."""
    if name == "slurm":
        from ml_suite.hosts import slurm

        return slurm
    from ml_suite.hosts import local

    return local


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
