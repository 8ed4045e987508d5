"""Speak to ecFlow in the name of a job that cannot speak for itself.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

from ml_suite import atomic
from ml_suite.hosts.jobfile import JobFiles

DAY = 86400
_ONE_ROUND = 60


def clean(reason: str) -> str:
    """A reason that fits on one line of ecFlowUI and survives ecFlow's own text format."""
    return " ".join(reason.replace("#", "").replace('"', "'").split())[:250] or "no reason given"


def say(job: JobFiles, word: str, patience: int = DAY) -> bool:
    """Tell ecFlow ``complete`` or ``abort REASON``; wait for the server for up to PATIENCE seconds.

    Returns
    -------
    bool
        False if the server refused (the try was superseded) or could not be reached in time.
    """
    verb, _, reason = word.partition(" ")
    option = "--complete" if verb == "complete" else f"--abort={clean(reason)}"
    environment = {
        **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")},
        **job.credentials(),
        # the pid that the job gave at --init; another one would make it a zombie
        "ECF_RID": _called(job),
        "ECF_TIMEOUT": str(patience),
        # a superseded try must not wait for an operator
        "ECF_ZOMBIE_TIMEOUT": "60",
    }
    client = shutil.which("ecflow_client") or "ecflow_client"
    if patience <= _ONE_ROUND:
        # else the client tries on for minutes, whatever its time is
        environment["ECF_DENIED"] = "1"
    done = subprocess.run(
        [client, option],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    # a client that gives up prints all it knows, the password too
    password = environment.get("ECF_PASS") or "ECF_PASS"
    print((done.stdout + done.stderr).replace(password, "***"), end="", file=sys.stderr, flush=True)
    if done.returncode == 0:
        # a folder that cannot be written may be the very reason of the abort
        with contextlib.suppress(OSError):
            atomic.write(job.beside(".outcome"), f"{word}\nsaid\n", mode=0o600)
    return done.returncode == 0


def _called(job: JobFiles) -> str:
    """What the job called itself to ecFlow; empty if it never did."""
    if running := job.running:
        return str(running.pid)
    remote = job.remote
    return remote.rid if remote else ""
