"""One submission to a remote Slurm: one round trip that brings the job, submits it once, and says its numbers.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ml_suite.errors import ConfigError, HostError, OutcomeUnknown
from ml_suite.hosts import channel, doorstep, order, reach, sbatch, ship
from ml_suite.hosts.jobfile import JobFiles, Remote
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.order import Order
from ml_suite.hosts.prologue import Setting, composed
from ml_suite.hosts.reach import Reach
from ml_suite.hosts.ship import Member

TIMEOUT = 240.0
"""Seconds for the round trip, beside those for further links."""


class Refused(HostError):
    """The host will not take this job, now or later."""


class Withdrawn(HostError):
    """The job was cancelled before it was submitted."""


@dataclass(frozen=True)
class Parcel:
    """Everything that goes to the host for one job."""

    host: str
    facts: JobHost
    key: str
    script: str = field(repr=False)
    """As it runs there; it holds the task's password."""
    times: tuple[timedelta, ...]
    """Walltime of each job of the chain."""
    inputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By their paths below the working folder."""
    older: tuple[str, ...] = ()
    """Keys of earlier tries of the same task that may still be there."""

    @property
    def folder(self) -> Path:
        """Where the job keeps its files at the host."""
        return self.facts.work / "jobs" / self.key


@dataclass(frozen=True)
class Accepted:
    """What Slurm made of it."""

    ids: tuple[str, ...]
    submitted: str
    rid: str


def parcel(
    job: JobFiles, ordered: Order, hosts: JobHosts, host: str, older: tuple[str, ...] = (), placed: str = ""
) -> Parcel:
    """Put together what goes to HOST.

    Raises
    ------
    ConfigError
        If the job asks for what cannot be, or an input is missing here.
    """
    facts = hosts.host(host)
    ask = ordered.ask(facts)
    credentials = job.credentials()
    key = order.key_of_job(credentials)
    times = tuple(order.times(ask))
    folder = facts.work / "jobs" / key
    setting = Setting(
        folder=folder,
        host=host,
        python=facts.python,
        library=facts.library,
        resolved=facts.files / "resolved.json",
        links=len(times),
        spool=facts.spool,
        server=facts.server or credentials.get("ECF_HOST"),
        port=str(facts.port) if facts.port else credentials.get("ECF_PORT"),
        placed=placed,
    )
    script = composed(
        job.script.read_text(), directives(ask, facts, folder, times[0], ordered.sbatch), setting
    )
    return Parcel(host, facts, key, script, times, _inputs(ordered, hosts), older)


def directives(ask: Ask, facts: JobHost, folder: Path, time: timedelta, free: str = "") -> list[str]:
    """Lines for the head of the script; for a chain those of its first job.

    Raises
    ------
    ConfigError
        If a value breaks out of its line.
    """
    options = {
        "job-name": folder.name,
        "account": ask.account,
        "partition": ask.partition,
        "qos": ask.qos,
        "nodes": str(ask.nodes),
        "ntasks-per-node": str(ask.tasks_per_node),
        **sbatch.gpus(ask.gpus_per_node, facts.gpu_request),
        "cpus-per-task": str(ask.cpus_per_task),
        "time": sbatch.slurm_time(time),
        # % has a meaning there
        "output": str(folder / "output").replace("%", "%%"),
        "signal": sbatch.warning(time),
    }
    flags = {"exclusive": ""} if ask.exclusive else {}
    # links of a chain write one after the other, and no job starts twice behind ecFlow's back
    given = {key: value for key, value in options.items() if value}
    try:
        lines = sbatch.lines({**given, **flags, "open-mode": "append", "no-requeue": ""})
    except ValueError as error:
        raise ConfigError(str(error), "Change the variable of the task.") from error
    return [*lines, f"#SBATCH {free}"] if free else lines


def send(way: Reach, sent: Parcel, before: int = 0) -> Accepted:
    """Submit in one round trip; what the host lacks of our files is brought first.

    Parameters
    ----------
    before
        Jobs that were submitted earlier; one more is added. 0: this is the first submission.

    Raises
    ------
    Refused
        If Slurm or the disk said no.
    Withdrawn
        If it was cancelled meanwhile.
    OutcomeUnknown
        If nobody can tell now; sending it again never submits it twice.
    MlSuiteError
        As `channel.run`.
    """
    done = _once(way, sent, before)
    if done.code == doorstep.MISSING:
        ship.tree(way, sent.facts.library_here, None, sent.facts.library)
        ship.tree(way, sent.facts.files_here, sent.facts.files_names, sent.facts.files)
        done = _once(way, sent, before)
    said = " ".join(done.out.split()) or " ".join(done.err.split()[-40:])
    if done.code in (doorstep.REFUSED, doorstep.UNWRITABLE):
        raise Refused(f"{sent.host}: {said}", "Change the task's variables, or the deployment.")
    if done.code == doorstep.WITHDRAWN:
        raise Withdrawn(f"{sent.host}: cancelled before it was submitted")
    if done.code != 0:
        raise OutcomeUnknown(f"{sent.host}: {said}", f"Run: ml-suite hosts check {sent.host}")
    told = dict(line.partition(" ")[::2] for line in done.out.splitlines())
    return Accepted(tuple(told.get("ids", "").split()), told.get("submitted", ""), told.get("rid", ""))


def _once(way: Reach, sent: Parcel, before: int) -> channel.Done:
    # one more goes on from the checkpoint of the one that its node took with it
    times = (*sent.times, *[max(sent.times)] * (before + 1 - len(sent.times))) if before else sent.times
    settings = {
        **setting(sent.facts.work, sent.key),
        "LIBRARY": str(sent.facts.library),
        "FILES": str(sent.facts.files),
        "OLDER": " ".join(sent.older),
        "BEFORE": str(before),
        "LINKS": str(before + 1 if before else len(times)),
        **{f"TIME_{number}": sbatch.slurm_time(time) for number, time in enumerate(times, 1)},
    }
    files = {
        "script": Member(sent.script.encode()),
        **{f"inputs/{name}": Member(content) for name, content in sent.inputs.items()},
        "whole": Member(b""),
    }
    timeout = TIMEOUT + 60 * len(times)
    return channel.run(way, text(settings, doorstep.SUBMIT), stdin=ship.packed(files), timeout=timeout)


@dataclass(frozen=True)
class Cancelled:
    """What became of a job that was cancelled; it has ended."""

    there: bool
    """Slurm knew it as not ended."""
    began: bool
    outcome: str
    """What it wanted to tell ecFlow."""
    said: bool


def cancel(where: Remote, wait: int) -> Cancelled:
    """Cancel all Slurm jobs of one submission in one round trip, also one that is only about to arrive.

    Parameters
    ----------
    wait
        Seconds that they have to end.

    Raises
    ------
    OutcomeUnknown
        If it is not known whether they ended.
    MlSuiteError
        As `channel.run`.
    """
    settings = {
        **setting(Path(where.folder).parents[1], where.key),
        "IDS": " ".join(where.ids),
        "WAIT": str(wait),
    }
    done = channel.run(reach.known(where.host), text(settings, doorstep.CANCEL), timeout=wait + 120)
    if done.code:
        raise OutcomeUnknown(f"{where.host}: {' '.join(done.out.split()) or ' '.join(done.err.split())}")
    told = dict(line.partition(" ")[::2] for line in done.out.splitlines())
    return Cancelled(
        bool(told.get("was")), told.get("began") == "yes", told.get("outcome", ""), bool(told.get("said"))
    )


def setting(work: Path, key: str) -> dict[str, str]:
    """Variables of every text for the host."""
    codes = {
        name: getattr(doorstep, name) for name in ("MISSING", "REFUSED", "UNTOLD", "UNWRITABLE", "WITHDRAWN")
    }
    limits = {name: getattr(doorstep, name) for name in ("PATIENCE", "SETTLE", "PASSING")}
    return {"WORK": str(work), "KEY": key, **{name: str(value) for name, value in (codes | limits).items()}}


def text(settings: Mapping[str, str], script: str) -> str:
    """A script after its variables."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()) + script


def _inputs(ordered: Order, hosts: JobHosts) -> dict[str, bytes]:
    try:
        return {name: (hosts.work / name).read_bytes() for name in ordered.inputs}
    except OSError as error:
        raise ConfigError(
            f"an input of the job cannot be read: {error}", "Run the task that writes it."
        ) from error
