"""What ecFlow calls for every job: ``python -I -S .../hosts/job.py submit|status|kill|sweep ...``.

Standard library only and run as a file, so that a start costs no more than Python's own. A submission that fails aborts
the task at once with the reason: ecFlow itself would leave it submitted until the next minute and never say why.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ml_suite import atomic
from ml_suite.hosts import local
from ml_suite.hosts.jobfile import JobFiles
from ml_suite.hosts.voice import say

USAGE = """\
usage: job.py submit|status|kill SCHEDULER ECF_JOB ECF_JOBOUT
       job.py sweep SCHEDULER FOLDER

submit   start the job; if that fails, abort its task with the reason
status   write the job's state to ECF_JOBOUT.stat
kill     stop the job and all that it started
sweep    abort the tasks of jobs below FOLDER that vanished without a word
"""

SCHEDULERS = {"local": local}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if len(arguments) < 3 or arguments[1] not in SCHEDULERS:
        print(USAGE, end="", file=sys.stderr)
        return 2
    verb, scheduler = arguments[0], SCHEDULERS[arguments[1]]
    if verb == "sweep":
        for line in scheduler.sweep(Path(arguments[2])):
            print(line)
        return 0
    if len(arguments) != 4 or verb not in ("submit", "status", "kill"):
        print(USAGE, end="", file=sys.stderr)
        return 2
    job = JobFiles(Path(arguments[2]), Path(arguments[3]))
    if verb == "submit":
        return _submit(job, arguments[1])
    answer = scheduler.status(job) if verb == "status" else scheduler.kill(job)
    if verb == "status":
        atomic.write(job.beside(".stat"), answer + "\n", mode=0o600)
    print(answer)
    return 0


def _submit(job: JobFiles, scheduler: str) -> int:
    try:
        pid = SCHEDULERS[scheduler].submit(job)
    except OSError as error:
        print(f"submission failed: {error}", file=sys.stderr)
        # exit 0: the server would otherwise abort the task a second time with a poorer reason
        return 0 if say(job, f"abort submission failed: {error}", patience=60) else 1
    print(f"submitted to {scheduler}, pid {pid}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
