"""Run one training as a process group that never outlives the job, and say how it ended."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event

GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL."""

MARK = "ML_SUITE_TRIAL"
"""Environment variable with the trial's folder: by it the processes of a killed job are found again."""

_PR_SET_PDEATHSIG = 1
_PID_FILE = "process.json"


@dataclass(frozen=True)
class Launch:
    """A program to run in a trial's folder; its output goes to log.txt there."""

    argv: list[str]
    environment: dict[str, str]
    folder: Path


Bind = Callable[[], None]
"""What a child calls first; see `die_with_parent`."""


class Stop(Enum):
    """Who ended a training."""

    ITSELF = "itself"
    WALLTIME = "walltime"
    JOB = "job"
    NODE = "node"
    """A node of the job was lost."""
    START = "start"
    """No rank ever began."""


@dataclass(frozen=True)
class Ended:
    """How a training ended; its exit code proves nothing."""

    code: int
    """Exit code, or minus the signal that killed it."""
    stop: Stop
    seconds: float
    cpu_seconds: float | None
    """None where it is not known: processes on other nodes."""
    rank: int | None = None
    """First one that failed, of several."""
    host: str = ""
    """Where that rank ran."""

    @property
    def where(self) -> str:
        """Which rank it was, for the end of a sentence; empty where there is one process."""
        return f" (rank {self.rank} on {self.host})" if self.rank is not None else ""

    @property
    def killed_by(self) -> str | None:
        """Name of the signal that killed it."""
        return signal.Signals(-self.code).name if self.code < 0 else None


@contextmanager
def stop_requests() -> Iterator[Event]:
    """Event that SIGTERM and SIGINT set instead of ending the job, so that it can leave a record first."""
    stop = Event()
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def spawn(launch: Launch) -> int:
    """Start the program in its own session and return its pid."""
    with (launch.folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            launch.argv,
            cwd=launch.folder,
            env={**launch.environment, MARK: str(launch.folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
    remember(launch.folder, child.pid)
    child.returncode = 0  # `watch` reaps it, with its resource usage
    return child.pid


def die_with_parent(parent: int) -> Bind:
    """Return what a child calls first: it is killed when its job is, also by ``kill -9``."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def bind() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the job died before this line
            os._exit(1)

    return bind


def terminate(pid: int) -> None:
    """Ask a process to stop: the leader alone; it can end its workers in order, and they must not die under it."""
    _signal(os.kill, pid, signal.SIGTERM)


def watch(
    pid: int,
    walltime: float | None,
    stop: Event,
    tick: Callable[[], None],
    ask: Callable[[int], None] = terminate,
) -> Ended:
    """Wait until the process ends; end it at its walltime, or when the job is told to stop.

    Parameters
    ----------
    walltime
        Seconds.
    tick
        Called now and then while waiting.
    ask
        Asks the process to stop.
    """
    begin, cause, told = time.monotonic(), Stop.ITSELF, 0.0
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        now = time.monotonic()
        if done:
            # the scheduler may have told the training and the job at once
            if status and cause is Stop.ITSELF and stop.is_set():
                cause = Stop.JOB
            break
        if cause is Stop.ITSELF and (stop.is_set() or (walltime is not None and now - begin > walltime)):
            cause, told = (Stop.JOB if stop.is_set() else Stop.WALLTIME), now
            ask(pid)
        elif cause is not Stop.ITSELF and now - told > GRACE:
            _signal(os.killpg, pid, signal.SIGKILL)
        tick()
        time.sleep(0.05)
    _signal(os.killpg, pid, signal.SIGKILL)  # workers that the leader left behind
    return Ended(os.waitstatus_to_exitcode(status), cause, now - begin, usage.ru_utime + usage.ru_stime)


def remember(folder: Path, pid: int) -> None:
    """Leave the pid for the job that runs after this one was killed."""
    (folder / _PID_FILE).write_text(json.dumps({"pid": pid, "started": _started(pid)}))


def sweep(folder: Path) -> None:
    """End what an earlier, killed job left running in this folder."""
    try:
        known = json.loads((folder / _PID_FILE).read_text())
        pid, started = int(known["pid"]), known["started"]
    except (OSError, ValueError, KeyError):
        return
    members = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _group(int(p.name)) == pid]
    # the number of a process is not given away while a group has its name, unless the whole group is gone
    if any((m == pid and _started(m) == started) or _belongs(m, folder) for m in members):
        _signal(os.killpg, pid, signal.SIGKILL)
        while any(_group(m) == pid for m in members):
            time.sleep(0.02)
    (folder / _PID_FILE).unlink(missing_ok=True)


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(target, number)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command's name; empty without such a process or when it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def _group(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def _started(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[19] if fields else None


def _belongs(pid: int, folder: Path) -> bool:
    """Tell whether a process works in the folder, or was started for it."""
    about = Path(f"/proc/{pid}")
    try:
        return (about / "cwd").readlink() == folder or (
            f"{MARK}={folder}".encode() in (about / "environ").read_bytes().split(b"\0")
        )
    except OSError:
        return False
