"""Servers as processes: start detached, recognise again, end. Linux only, standard library only.

A process is known by its number *and* the moment it started, so that a recycled number is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOG_LIMIT = 10 << 20


@dataclass(frozen=True)
class Process:
    """A process that was started: number, and start as boot identity and clock ticks since boot."""

    pid: int
    start: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return identify(self.pid) == self


def identify(pid: int) -> Process | None:
    """Look at the process that has a number now; None if there is none."""
    stat = _stat(pid)
    return Process(pid, f"{_boot()}:{stat.ticks}") if stat and stat.state not in "ZX" else None


@dataclass(frozen=True)
class _Stat:
    state: str
    session: int
    ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name, in parentheses, may hold anything
    words = text.rpartition(")")[2].split()
    return _Stat(state=words[0], session=int(words[3]), ticks=int(words[19]))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def launch(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Process:
    """Start a command in its own session, talking to LOG only, so that it outlives its parent.

    Raises
    ------
    OSError
        If the command cannot be run or the log cannot be written.
    """
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(descriptor)
    # not waited for on purpose; a zombie of ours counts as ended
    child.returncode = 0
    return identify(child.pid) or Process(child.pid, f"{_boot()}:0")


def members(process: Process) -> list[Process]:
    """Processes of the session that PROCESS began, itself included while it lives.

    When the number now belongs to somebody else there are none. While any member lives the system gives the
    number to nobody, so what is in the session without its leader is of the same family.
    """
    leader = identify(process.pid)
    boot, _, ticks = process.start.rpartition(":")
    if (leader is not None and leader != process) or boot != _boot():
        return []
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        stat = _stat(pid)
        if stat and stat.session == process.pid and stat.ticks >= int(ticks) and (member := identify(pid)):
            found.append(member)
    return found


def end(process: Process, grace: float = 10.0, family: bool = True) -> None:
    """TERM, wait, KILL: the process and, with FAMILY, the rest of its session."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for one in _targets(process, family):
            _signal(one, number)
        if wait_ended(process, seconds, family):
            return


def wait_ended(process: Process, seconds: float, family: bool = False) -> bool:
    """Wait until the process (and its session) is gone; False if it is not in time."""
    deadline = time.monotonic() + seconds
    while _targets(process, family):
        _reap(process.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    _reap(process.pid)
    return True


def _targets(process: Process, family: bool) -> list[Process]:
    if family:
        return members(process)
    return [process] if process.alive else []


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        # a descriptor pins the process: nobody else can get its number between the look and the signal
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.alive:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
