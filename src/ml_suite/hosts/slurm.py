"""Jobs of a remote Slurm, over the open SSH connection: ask, cancel, submit once more.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import HostError, MlSuiteError, OutcomeUnknown
from ml_suite.hosts import channel, doorstep, order, reach, states, submission, submitter
from ml_suite.hosts.jobfile import ENDED, PLACING, SUBMITTED, SUBMITTING, JobFiles, Remote
from ml_suite.hosts.states import Outcome, Seen
from ml_suite.hosts.voice import say

MOST = 200_000
"""Bytes of a job's output that are fetched."""

GRACE = 45
"""Seconds that a cancelled job has to end."""

CANCELLED_EARLY = "cancelled by the operator before it started"


def submit(job: JobFiles) -> int:
    """Start a process that submits the job, detached from ecFlow; returns its pid.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    return submitter.start(job)


def resume(job: JobFiles) -> int | None:
    """Go on with a submission whose process died; None if there is nothing to go on with."""
    where = job.remote
    return submitter.start(job, where) if where and where.orphaned else None


def resubmit(job: JobFiles) -> Remote:
    """Submit one more Slurm job for the same try, after a node failed.

    Raises
    ------
    MlSuiteError
        If Slurm refused, or it is not known whether it took it: then call it again, it is never submitted twice.
    """
    where = _submitted(job)
    ordered = order.read(job.script.read_text())
    hosts = submitter.facts(ordered)
    sent = submission.parcel(job, ordered, hosts, where.host)
    if sent.key != where.key:
        raise HostError("ecFlow has submitted the task again: this try is over")
    accepted = submission.send(reach.known(where.host), sent, before=len(where.ids))
    now = replace(where, ids=accepted.ids, state=SUBMITTED, resubmissions=where.resubmissions + 1)
    job.remember(now)
    return now


@dataclass(frozen=True)
class _Look:
    """What the host told of a job."""

    seen: Seen
    outcome: tuple[str, ...]
    output: str


def describe(job: JobFiles) -> Seen:
    """What Slurm says of the job, in one round trip.

    Raises
    ------
    MlSuiteError
        If it was not submitted yet or the host could not be asked.
    """
    return _look(job, 0).seen


def status(job: JobFiles) -> str:
    """One sentence; fetches the end of the job's output."""
    where = job.remote
    if where is None:
        return "unknown: it was never submitted"
    if where.state not in (SUBMITTED, ENDED):
        doing = "is being submitted" if where.in_hand else "waits for its submission to be taken up again"
        last = submitter.last_words(job)
        return f"it {doing}" + (f" to {where.host}" if where.host else "") + (f": {last}" if last else "")
    try:
        look = _look(job, MOST)
    except MlSuiteError as error:
        return f"unknown: the host could not be asked: {error.message}"
    if look.output:
        atomic.write(job.output, look.output, mode=0o600)
    told = f"; it told ecFlow: {look.outcome[0]}" if "said" in look.outcome[1:] else ""
    return f"{where.host}: {look.seen.sentence}{told}"


def kill(job: JobFiles) -> str:
    """Cancel the job and say how it went.

    Raises
    ------
    MlSuiteError
        If the host could not be asked: a job that runs goes on; one whose submission was under way is cancelled as
        soon as the host can be asked.
    """
    where = job.remote
    if where is None:
        return "nothing to kill: it was never submitted"
    if where.state == ENDED:
        return "it has ended"
    if where.in_hand:
        submitter.stop(where.submitter, where.submitter_started)
        where = job.remote or where
    if where.state == PLACING:
        _tell(job, where, f"abort {CANCELLED_EARLY}")
        return "cancelled: it had not been sent to a host"
    _use_home(job)
    if where.state == SUBMITTING:
        # from here on nobody submits it, whatever becomes of this process
        atomic.write(job.beside(".outcome"), f"abort {CANCELLED_EARLY}\n", mode=0o600)
    try:
        told = submission.cancel(where, GRACE)
    except MlSuiteError:
        if where.state == SUBMITTING:
            submitter.start(job, where)
        raise
    if not told.began:
        _tell(job, where, f"abort {CANCELLED_EARLY}")
    elif not told.said:
        # it was ended before it could say anything; what it wanted to say counts
        wanted = told.outcome if told.outcome.startswith(("abort", "complete")) else ""
        _tell(job, where, wanted or "abort cancelled by the operator")
    else:
        job.remember(replace(where, state=ENDED))
    return "cancelled" if told.there else "it has ended"


def _tell(job: JobFiles, where: Remote, word: str) -> None:
    """Tell ecFlow, or leave it to whoever takes the job up."""
    atomic.write(job.beside(".outcome"), f"{word}\n", mode=0o600)
    if say(job, word, patience=60):
        job.remember(replace(where, state=ENDED))


def _submitted(job: JobFiles) -> Remote:
    where = job.remote
    if where is None or not where.ids:
        raise HostError("it was not submitted yet")
    return where


def _look(job: JobFiles, most: int) -> _Look:
    where = _submitted(job)
    _use_home(job)
    settings = {
        "WORK": str(Path(where.folder).parents[1]),
        "KEY": where.key,
        "IDS": ",".join(where.ids),
        "FORMAT": states.SQUEUE[-1].partition("=")[2],
        "FIELDS": states.SACCT[-1].partition("=")[2],
        "MOST": str(most),
    }
    text = submission.text(settings, doorstep.LOOK)
    done = channel.run(reach.known(where.host), text, timeout=180)
    if done.code:
        raise OutcomeUnknown(f"{where.host}: {' '.join(done.err.split())}")
    head, _, output = f"\n{done.out}".partition("\noutput\n")
    lines = [line.partition(" ") for line in head.splitlines()]
    told = {name: _section(lines, name) for name in ("queue", "accounts")}
    seen = [states.judge(one, told["queue"], told["accounts"], where.submitted) for one in where.ids]
    return _Look(_current(seen), tuple(rest for word, _, rest in lines if word == "outcome"), output)


def _section(lines: list[tuple[str, str, str]], name: str) -> str | None:
    found = [rest for word, _, rest in lines if word == name]
    return "\n".join(found) if found else None


def _use_home(job: JobFiles) -> None:
    """Connections are those of the installation that deployed the suite."""
    submitter.facts(order.read(job.script.read_text()))


def _current(seen: list[Seen]) -> Seen:
    """The job of a chain that counts: the first that has not ended, else the last that ran."""
    going = [one for one in seen if not one.outcome.ended]
    if going:
        return next((one for one in going if one.outcome is not Outcome.UNKNOWN), going[-1])
    return next((one for one in reversed(seen) if one.nodes), seen[-1])
