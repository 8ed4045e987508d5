"""Jobs on this machine: a keeper process starts each job, waits for it and speaks for it if it dies without a word.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from ml_suite.hosts.jobfile import JobFiles, Running, alive, start_time
from ml_suite.hosts.voice import say

GRACE = 10.0
"""Seconds between TERM and KILL."""

# The server's environment may hold its password file and other people's variables.
_PASSED = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "SHELL", "TZ")


def submit(job: JobFiles) -> int:
    """Start the job detached from ecFlow and return its pid once it runs.

    Raises
    ------
    OSError
        If it cannot be started: no bash, output folder missing or full.
    """
    job.script.chmod(0o600)
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        _become_keeper(job, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.wait()
    if not answer.startswith("pid "):
        raise OSError(answer or "the job's keeper died")
    return int(answer.split()[1])


def status(job: JobFiles) -> str:
    """``running PID``, ``ended`` (ecFlow was told), ``untold`` (it was not) or ``unknown``."""
    running = job.running
    if running is None:
        return "unknown: it was never started here"
    if alive(running.pid, running.started):
        return f"running, pid {running.pid}"
    if job.outcome[1]:
        return f"ended, ecFlow was told: {job.outcome[0]}"
    if alive(running.keeper, running.keeper_started):
        return "untold: ended, its keeper is telling ecFlow"
    return "untold: it ended without a word, and so did its keeper"


def kill(job: JobFiles) -> str:
    """Stop the job and everything it started: TERM, ten seconds, KILL; say how it went."""
    running = job.running
    if running is None:
        return "nothing to kill: it was never started here"
    if not alive(running.pid, running.started):
        return "nothing to kill: it has ended"
    os.killpg(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        if not alive(running.pid, running.started):
            return "stopped by TERM"
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    return f"ended by KILL, it ignored TERM for {GRACE:.0f} s"


def sweep(folder: Path) -> list[str]:
    """Abort every job below FOLDER that ended without a word together with its keeper (a reboot, the OOM killer)."""
    told = []
    for state in sorted(folder.rglob("*.job")):
        output = state.with_name(state.name.removesuffix(".job"))
        script = output.parent / f"{output.stem}.job{output.suffix.removeprefix('.')}"
        job = JobFiles(script, output)
        if not script.exists() or not status(job).startswith("untold: it ended"):
            continue
        word = job.outcome[0] or "abort the job and its keeper vanished (reboot or kill -9)"
        # a refusal means that a newer try has taken over: nothing is left to tell
        told.append(f"{output}: {word}" if say(job, word, patience=60) else f"{output}: superseded")
        state.unlink(missing_ok=True)
    return told


def reason_of(returncode: int) -> str:
    """Why a job that said nothing ended.

    >>> reason_of(-9)
    'killed by signal 9 (SIGKILL): kill -9 or out of memory'
    >>> reason_of(3)
    'ended with exit code 3 without telling ecFlow'
    """
    if returncode < 0:
        name = signal.Signals(-returncode).name
        more = ": kill -9 or out of memory" if name == "SIGKILL" else ""
        return f"killed by signal {-returncode} ({name}){more}"
    return f"ended with exit code {returncode} without telling ecFlow"


def _become_keeper(job: JobFiles, write: int) -> NoReturn:
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        child = _start(job)
        running = Running(child.pid, start_time(child.pid) or 0, os.getpid(), start_time(os.getpid()) or 0)
        job.remember(running)
        os.write(write, f"pid {child.pid}".encode())
        os.close(write)
    except BaseException as error:
        os.write(write, str(error).encode())
        os._exit(1)
    try:
        _keep(job, child)
    finally:
        os._exit(0)


def _start(job: JobFiles) -> subprocess.Popen[bytes]:
    job.beside(".outcome").unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if k in _PASSED}
    environment["ML_SUITE_OUTCOME"] = str(job.beside(".outcome"))
    descriptor = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        child = subprocess.Popen(
            ["/bin/bash", str(job.script)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        # from here on the keeper speaks into the job's output too
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return child


def _keep(job: JobFiles, child: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    returncode = child.wait()
    # stragglers of a dead job would go on writing into the next try's files
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    word, said = job.outcome
    if said:
        return
    word = word or f"abort {reason_of(returncode)}"
    print(f"keeper: the job {reason_of(returncode)}; telling ecFlow: {word}", flush=True)
    if not say(job, word):
        print("keeper: ecFlow did not take it", file=sys.stderr, flush=True)
