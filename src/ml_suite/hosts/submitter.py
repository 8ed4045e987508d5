"""The process that submits one job: detached from ecFlow, it tries until the host takes the job or says no.

No contact is no failure: while a host cannot be asked the task stays submitted, and what may have arrived there is
asked for before it is sent again. Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from ml_suite import atomic
from ml_suite.errors import ConfigError, MlSuiteError, OutcomeUnknown
from ml_suite.hosts import jobhost, limits, order, placement, reach, submission
from ml_suite.hosts.jobfile import (
    ENDED,
    PLACING,
    SUBMITTED,
    SUBMITTING,
    JobFiles,
    Remote,
    alive,
    files_of,
    start_time,
)
from ml_suite.hosts.jobhost import JobHosts
from ml_suite.hosts.order import Order
from ml_suite.hosts.placement import NoRoom
from ml_suite.hosts.ship import NotWritten
from ml_suite.hosts.submission import Refused, Withdrawn
from ml_suite.hosts.voice import clean, say

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
"""Seconds between attempts; they grow by half each time."""

TURN = 10.0
"""Seconds that a new submission waits until an older one of the same task has stopped."""


def start(job: JobFiles, where: Remote | None = None) -> int:
    """Start the process and return its pid once it has written down that it is at work.

    Parameters
    ----------
    where
        Go on from there; None: a submission by ecFlow.

    Raises
    ------
    OSError
        If it cannot be started, or another process is at work on the same job.
    """
    job.script.chmod(0o600)
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        _detach(job, where, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.wait()
    if not answer.startswith("pid "):
        raise OSError(answer or "the process that submits the job died")
    return int(answer.split()[1])


def facts(ordered: Order) -> JobHosts:
    """What the job says of its hosts; connections of its installation are used from here on.

    Raises
    ------
    ConfigError
        If the suite's hosts.json is missing or of another version.
    """
    hosts = jobhost.load(ordered.facts)
    os.environ["ML_SUITE_HOME"] = str(hosts.home)
    return hosts


def last_words(job: JobFiles) -> str:
    """Last line of the log, without its time."""
    try:
        lines = job.beside(".submit").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1].partition("  ")[2] if lines else ""


def stop(pid: int, started: int) -> None:
    """End a process, at once if it does not end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if alive(pid, started):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        for _ in range(20):
            if not alive(pid, started):
                return
            time.sleep(0.1)


@dataclass(frozen=True)
class _Older:
    """An earlier try of the same task whose job may still be at a host."""

    job: JobFiles
    where: Remote


@dataclass
class _Work:
    """One submission under way."""

    job: JobFiles
    where: Remote
    password: str | None
    older: list[_Older]

    def note(self, text: str) -> None:
        """One line of the log."""
        text = text.replace(self.password, "***") if self.password else text
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')}  {' '.join(text.split())}", flush=True)

    def note_new(self, text: str) -> None:
        """One line, unless it is the last one again."""
        if last_words(self.job) != text:
            self.note(text)

    def record(self, where: Remote) -> None:
        """Write down how far it is."""
        self.where = where
        self.job.remember(where)

    @property
    def over(self) -> str:
        """Why to stop without a word; empty to go on."""
        if self.job.password != self.password:
            return "ecFlow has submitted the task again"
        now = self.job.remote
        mine = (os.getpid(), self.where.submitter_started)
        if now is None or (now.submitter, now.submitter_started) != mine:
            return "another process has taken over"
        return ""


def _detach(job: JobFiles, where: Remote | None, write: int) -> NoReturn:
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        work = _taken_up(job, where)
        os.write(write, f"pid {os.getpid()}".encode())
        os.close(write)
    except BaseException as error:
        os.write(write, str(error).encode())
        os._exit(1)
    try:
        _run(work)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _taken_up(job: JobFiles, where: Remote | None) -> _Work:
    """Become the only process that submits this job."""
    before = job.remote
    if where is None and before and before.in_hand:
        # the same task was submitted again: the older submission must not write into its files
        stop(before.submitter, before.submitter_started)
    log = os.open(job.beside(".submit"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    _lock(log, TURN if where is None else 0.0)
    older = _older(job)
    pid, started = os.getpid(), start_time(os.getpid()) or 0
    if where is None:
        os.ftruncate(log, 0)
        job.beside(".outcome").unlink(missing_ok=True)
        where = Remote("", "", "")
    where = replace(where, submitter=pid, submitter_started=started)
    job.remember(where)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # the server's password file and the like are none of ssh's business
    for name in [name for name in os.environ if name.startswith("ECF_")]:
        del os.environ[name]
    return _Work(job, where, job.password, older)


def _lock(log: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            # it ends with this process, however that ends
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError("another process is submitting this job") from None
            time.sleep(0.1)


def _older(job: JobFiles) -> list[_Older]:
    """Earlier tries, also one whose record ours is going to replace."""
    found = []
    for record in sorted(job.output.parent.glob("*.job")):
        files = files_of(record.with_name(record.name.removesuffix(".job")))
        where = files.remote
        if files.output.stem == job.output.stem and where and where.key and where.state != ENDED:
            found.append(_Older(files, where))
    return found


def _run(work: _Work) -> None:
    pause = FIRST_PAUSE
    while True:
        if reason := work.over:
            work.note(f"given up: {reason}")
            return
        try:
            if work.job.outcome[0]:
                # it was cancelled or refused, and ecFlow or the host does not know yet
                _withdraw(work)
                _tell(work, work.job.outcome[0])
            else:
                _attempt(work)
            return
        except Withdrawn:
            work.note("given up: it was cancelled")
            return
        except (ConfigError, Refused, NotWritten) as error:
            _abort(work, error.message)
            return
        except NoRoom as error:
            # what decides is known here: nobody is asked over the network
            work.note_new(error.message)
            pause = FIRST_PAUSE
        except MlSuiteError as error:
            work.note(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        except OSError as error:
            work.note(f"{error}")
        except Exception as error:
            traceback.print_exc()
            if work.where.state == PLACING:
                _abort(work, f"submission failed: {type(error).__name__}: {error}")
                return
        time.sleep(pause * random.uniform(0.8, 1.0))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _attempt(work: _Work) -> None:
    ordered = order.read(work.job.script.read_text())
    hosts = facts(ordered)
    unsent = work.where.state == PLACING
    host = _host(work, ordered, hosts) if unsent else work.where.host
    hosts.host(host)
    way = reach.known(host)
    key = order.key_of_job(work.job.credentials())
    _end_elsewhere(work, host)
    older = tuple(old.where.key for old in work.older if old.where.host == host and old.where.key != key)
    sent = submission.parcel(work.job, ordered, hosts, host, older, work.where.placed)
    # from here on it may arrive, whatever becomes of this process
    work.record(replace(work.where, host=host, key=sent.key, folder=str(sent.folder), state=SUBMITTING))
    try:
        accepted = submission.send(way, sent)
    except OutcomeUnknown:
        raise
    except MlSuiteError:
        if unsent:
            work.record(replace(work.where, state=PLACING))
        raise
    work.record(
        replace(
            work.where,
            ids=accepted.ids,
            submitted=accepted.submitted,
            rid=accepted.rid or accepted.ids[0],
            state=SUBMITTED,
        )
    )
    for old in work.older:
        if old.job.output != work.job.output:
            old.job.remember(replace(old.where, state=ENDED))
    work.note(f"submitted to {host}: Slurm job {', '.join(accepted.ids)}")


def _host(work: _Work, ordered: Order, hosts: JobHosts) -> str:
    names = ordered.hosts
    if order.ANY in names:
        names = tuple(name for name, host in hosts.hosts.items() if ordered.kind in host.resources)
    if not names:
        raise ConfigError(f"no host of the suite takes jobs of kind '{ordered.kind}'", "Run: ml-suite deploy")
    if len(names) == 1:
        return names[0]
    # one after the other, so that each counts the ones before
    with limits.exclusive(reach.folder() / "placing", TURN):
        choice = placement.choose(names, hosts, ordered.kind, work.job)
        work.record(replace(work.where, host=choice.host, placed=choice.reason))
    work.note(f"placed at {choice.host}: {choice.reason}")
    return choice.host


def _end_elsewhere(work: _Work, host: str) -> None:
    """An earlier try at another host is told to end; that it may not be asked holds nothing up."""
    for old in [old for old in work.older if old.where.host != host]:
        try:
            submission.cancel(old.where, wait=0)
        except MlSuiteError as error:
            work.note(f"the earlier job {old.where.key} may go on: {error.message}")
        work.older.remove(old)


def _abort(work: _Work, reason: str) -> None:
    reason = clean(reason.replace(work.password, "***") if work.password else reason)
    work.note(f"refused: {reason}")
    if not work.over:
        # first on disk: whoever takes it up tells it again and does not submit
        atomic.write(work.job.beside(".outcome"), f"abort {reason}\n", mode=0o600)
        _tell(work, f"abort {reason}")


def _withdraw(work: _Work) -> None:
    if work.where.state == SUBMITTING:
        facts(order.read(work.job.script.read_text()))
        submission.cancel(work.where, wait=0)


def _tell(work: _Work, word: str) -> None:
    told = work.job.outcome[1] or say(work.job, word)
    work.record(replace(work.where, state=ENDED))
    work.note("ecFlow was told" if told else "ecFlow did not take it")
