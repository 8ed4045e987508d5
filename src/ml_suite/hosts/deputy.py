"""Act for a job of a remote host that cannot act for itself: speak to ecFlow, keep its output, close its record.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.hosts.jobfile import ENDED, JobFiles, Remote
from ml_suite.hosts.look import Files, counter
from ml_suite.hosts.order import key_of_job
from ml_suite.hosts.standing import Place
from ml_suite.hosts.verdict import Standing
from ml_suite.hosts.voice import clean

PATIENCE = 20
"""Seconds for a server that does not answer."""
LABEL = "job"
"""Label of a task that says what became of its job, where the task has one."""


@dataclass(frozen=True)
class Job:
    """A submission that has not ended, and whose it is."""

    files: JobFiles
    remote: Remote
    credentials: dict[str, str]
    """Of the script as it is now, which may be that of a later submission; empty if it is gone."""

    @property
    def superseded(self) -> bool:
        """Whether ecFlow has written another script in its place."""
        return bool(self.credentials and self.remote.key) and key_of_job(self.credentials) != self.remote.key

    @property
    def name(self) -> str:
        """What tells it from all others; a key is only drawn once a host is chosen."""
        return self.remote.key or str(self.files.output)

    @property
    def counter(self) -> str:
        """Beginning of the names of its child commands in the spool."""
        return counter(self.credentials.get("ECF_NAME", ""), self.credentials.get("ECF_TRYNO", ""))

    def __str__(self) -> str:
        name, number = self.credentials.get("ECF_NAME"), self.credentials.get("ECF_TRYNO")
        return f"{name} try {number}" if name and not self.superseded else self.name


@dataclass(frozen=True)
class Voice(JobFiles):
    """A submission as it was when it was judged: ecFlow may write the script of the next one at any moment."""

    known: dict[str, str]
    where: Remote

    @staticmethod
    def of(job: Job, rid: str) -> Voice:
        """The voice of a job that called itself RID at --init."""
        where = replace(job.remote, rid=rid) if rid else job.remote
        return Voice(job.files.script, job.files.output, job.credentials, where)

    def credentials(self) -> dict[str, str]:
        """ECF_* variables of the submission."""
        return self.known

    @property
    def running(self) -> None:
        """It is no process of this machine."""
        return None

    @property
    def remote(self) -> Remote:
        """Where it ran."""
        return self.where


def bring(job: Job, files: Files, output: str) -> None:
    """Keep the end of the output where ecFlowUI shows it."""
    data = output.encode()
    if files.size.isdecimal() and int(files.size) > len(data):
        more = int(files.size) - len(data)
        data = (
            f"[{more} bytes before this are in {job.remote.host}:{job.remote.folder}/output]\n".encode()
            + data
        )
    atomic.write(job.files.output, data, mode=0o600)


def note(job: Job, line: str) -> None:
    """Leave a line at the end of the job's output, where ecFlowUI shows it."""
    with contextlib.suppress(OSError):
        before = job.files.output.read_bytes() if job.files.output.exists() else b""
        if before.endswith(line.encode() + b"\n"):
            return
        end = b"" if before.endswith(b"\n") or not before else b"\n"
        atomic.write(job.files.output, before + end + line.encode() + b"\n", mode=0o600)


def close(job: Job) -> None:
    """Nothing is left to do for a submission."""
    _record(job, state=ENDED)


def settle(job: Job, over: bool) -> None:
    """Note that a job takes no more room at its host, or that it does again."""
    if job.remote.over != over:
        _record(job, over=over)


def _record(job: Job, **changes: Any) -> None:
    # a later submission may have its record there by now
    if (now := job.files.remote) is not None and now.key == job.remote.key:
        job.files.remember(replace(now, **changes))


def resume(job: Job) -> str:
    """Have a submission taken up again whose process died; what came of it."""
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("job.py")), "resume", "slurm"]
    done = subprocess.run(
        [*command, str(job.files.script), str(job.files.output)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"taken up again, exit code {done.returncode}"


def label(voice: Voice, place: Place, text: str) -> None:
    """Show a text at the task, if it has a label for it."""
    if place.standing is not Standing.BUSY or LABEL not in place.labels:
        return
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")} | voice.credentials()
    environment |= {"ECF_RID": voice.remote.rid, "ECF_TIMEOUT": str(PATIENCE), "ECF_DENIED": "1"}
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["ecflow_client", f"--label={LABEL}", clean(text)]
        # the client prints the password when it gives up
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )


_SECRET = re.compile(
    r"(?i)((?:passw\w*|passphrase|\w*secret\w*|token|credentials?|\w*_key|api-?key)\s*[=:]\s*)\S+"
)


def last_words(reason: str, output: str, secrets: tuple[str, ...] = ()) -> str:
    r"""What a job said last, on one short line: its own reason, else the end of its output.

    >>> last_words("", "step 1\nRuntimeError: out of tune\n\n")
    'RuntimeError: out of tune'
    >>> last_words("", "export AWS_SECRET_ACCESS_KEY=abc ok")
    'export AWS_SECRET_ACCESS_KEY=*** ok'
    """
    lines = [line for text in (output, reason) for line in text.splitlines() if line.strip()]
    line = "".join(c if c.isprintable() else " " for c in lines[-1]) if lines else ""
    for secret in filter(None, secrets):
        line = line.replace(secret, "***")
    line = " ".join(_SECRET.sub(r"\1***", line).split())
    return line if len(line) <= 120 else line[:117] + "..."
