"""What Slurm says about jobs, in our words. Unknown is not failed: it is what nobody could tell.

Standard library only: this is imported for every question about a job.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a job is, or how it ended."""

    RUNNING = "running"
    PENDING = "pending"
    COMPLETE = "complete"
    WALLTIME = "walltime"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILURE = "node-failure"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """The job is over for certain."""
        return self not in (Outcome.RUNNING, Outcome.PENDING, Outcome.UNKNOWN)

    @property
    def blameless(self) -> bool:
        """The machine ended the job, not the job itself: another try does not count."""
        return self in (Outcome.NODE_FAILURE, Outcome.PREEMPTED)


@dataclass(frozen=True)
class _State:
    code: str
    """As ``squeue --format=%t`` shortens it."""
    outcome: Outcome
    words: str


# squeue(1) and sacct(1) of Slurm 22.05, "JOB STATE CODES"; the last four are those of 23.11 and later
# (slurm.schedmd.com/job_state_codes.html)
STATES = {
    "BOOT_FAIL": _State("BF", Outcome.NODE_FAILURE, "its nodes did not boot"),
    "CANCELLED": _State("CA", Outcome.CANCELLED, "it was cancelled"),
    "COMPLETED": _State("CD", Outcome.COMPLETE, "it ended with exit code 0"),
    "CONFIGURING": _State("CF", Outcome.PENDING, "its nodes are being made ready"),
    "COMPLETING": _State("CG", Outcome.RUNNING, "it is ending"),
    "DEADLINE": _State("DL", Outcome.CANCELLED, "Slurm gave it up at its deadline"),
    "FAILED": _State("F", Outcome.FAILED, "it failed"),
    "NODE_FAIL": _State("NF", Outcome.NODE_FAILURE, "a node failed"),
    "OUT_OF_MEMORY": _State("OOM", Outcome.OUT_OF_MEMORY, "it used more memory than it may"),
    "PENDING": _State("PD", Outcome.PENDING, "it waits"),
    "PREEMPTED": _State("PR", Outcome.PREEMPTED, "a job of higher priority took its nodes"),
    "RUNNING": _State("R", Outcome.RUNNING, "it runs"),
    "RESV_DEL_HOLD": _State("RD", Outcome.PENDING, "it is held: its reservation was deleted"),
    "REQUEUE_FED": _State("RF", Outcome.PENDING, "a federation puts it back into the queue"),
    "REQUEUE_HOLD": _State("RH", Outcome.PENDING, "it is held after it went back into the queue"),
    "REQUEUED": _State("RQ", Outcome.PENDING, "it goes back into the queue"),
    "RESIZING": _State("RS", Outcome.RUNNING, "it is changing its size"),
    "REVOKED": _State("RV", Outcome.UNKNOWN, "another cluster of the federation took it"),
    "SIGNALING": _State("SI", Outcome.RUNNING, "it is being sent a signal"),
    "SPECIAL_EXIT": _State("SE", Outcome.PENDING, "it is held after a special exit code"),
    "STAGE_OUT": _State("SO", Outcome.RUNNING, "its files are being copied out"),
    "STOPPED": _State("ST", Outcome.RUNNING, "it was stopped by a signal and keeps its cores"),
    "SUSPENDED": _State("S", Outcome.RUNNING, "it is suspended"),
    "TIMEOUT": _State("TO", Outcome.WALLTIME, "it reached its walltime"),
    "EXPEDITING": _State("", Outcome.PENDING, "it goes back into the queue with high priority"),
    "LAUNCH_FAILED": _State("", Outcome.NODE_FAILURE, "its nodes could not start it"),
    "POWER_UP_NODE": _State("", Outcome.PENDING, "its nodes are being switched on"),
    "RECONFIG_FAIL": _State("", Outcome.NODE_FAILURE, "its nodes could not be made ready"),
}

_BY_CODE = {state.code: name for name, state in STATES.items() if state.code}

# squeue(1), "JOB REASON CODES", and slurm.schedmd.com/resource_limits.html: those that time does not cure.
# A partition that is down or too small just now is not among them: a maintenance ends.
STUCK = {
    "AccountNotAllowed": "the account may not use this partition",
    "BadConstraints": "no node has what it asks for",
    "DependencyNeverSatisfied": "the job it waits for failed",
    "InvalidAccount": "there is no such account",
    "InvalidQOS": "there is no such QOS, or the account may not use it",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "a person holds it",
    "PartitionTimeLimit": "it asks for more time than the partition gives",
    "AssocMaxNodePerJobLimit": "it asks for more nodes than the account may",
    "AssocMaxWallDurationPerJobLimit": "it asks for more time than the account may",
    "AssocGrpBillingMinutes": "the account's budget is spent",
    "AssocGrpCPUMinutesLimit": "the account's budget is spent",
    "QOSMaxNodePerJobLimit": "it asks for more nodes than the QOS gives",
    "QOSMaxWallDurationPerJobLimit": "it asks for more time than the QOS gives",
    "launch_failed_requeued_held": "its nodes could not start it, and Slurm holds it",
}

SQUEUE = ("squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%r|%N|%M|%V|%j")
"""Arguments for `squeue`: one question for all jobs of a person, also those that ended minutes ago. With ``--jobs`` it
fails when it has forgotten them."""

SACCT = ("sacct", "--parsable2", "--format=JobID,State,ExitCode,Reason,NodeList,Elapsed,Submit,JobName")
"""Arguments for `sacct`; add ``--jobs=1,2``: without, it shows today's only. A job that it does not know is
left out."""

_JOB = re.compile(r"\d+(_(\d+|\[[^\]]*\]))?(\+\d+)?")
_ALIVE = (Outcome.RUNNING, Outcome.PENDING)
FORGOTTEN = "Slurm does not know it"
_NOTHING = frozenset({"", "None", "None assigned", "(null)", "Unknown", "N/A"})


@dataclass(frozen=True)
class Seen:
    """One job as squeue or sacct showed it."""

    job: str
    state: str
    """Slurm's word in full, or what stood there."""
    by: str | None = None
    """User id that cancelled it."""
    code: int | None = None
    """Exit code."""
    signal: int = 0
    """Signal that ended it."""
    reason: str | None = None
    nodes: str | None = None
    elapsed: str | None = None
    submitted: str | None = None
    steps: tuple[str, ...] = ()
    """States of its steps."""
    name: str | None = None
    """Its name, where it was asked for."""

    @property
    def forgotten(self) -> bool:
        """Slurm was asked and knows no such job (any more): not the same as a host that could not be asked."""
        return not self.state and self.reason == FORGOTTEN

    @property
    def outcome(self) -> Outcome:
        """The state in our words; a state that Slurm's manual does not know is unknown."""
        known = STATES.get(self.state)
        if known is None:
            return Outcome.UNKNOWN
        # the job's own state is that of its script; the kernel kills a step
        if known.outcome is Outcome.FAILED and "OUT_OF_MEMORY" in self.steps:
            return Outcome.OUT_OF_MEMORY
        if known.outcome is Outcome.FAILED and "NODE_FAIL" in self.steps:
            return Outcome.NODE_FAILURE
        return known.outcome

    @property
    def stuck(self) -> str | None:
        """Why a waiting job will never start by itself."""
        return STUCK.get(self.reason or "") if self.outcome is Outcome.PENDING else None

    @property
    def sentence(self) -> str:
        """What an operator wants to know, in one line."""
        outcome, known = self.outcome, STATES.get(self.state)
        if known is None:
            return f"Slurm job {self.job}: {self.reason if not self.state else f'no state {self.state} is known'}"
        words = known.words
        if outcome is not known.outcome:
            words = next(s.words for s in STATES.values() if s.outcome is outcome and s.code in ("OOM", "NF"))
        if outcome is Outcome.CANCELLED and self.by:
            words += f" by user {self.by}"
        if outcome is Outcome.FAILED:
            words = self._failure()
        if outcome is Outcome.PENDING and self.reason:
            words += f" for ever: {self.stuck}" if self.stuck else f" ({self.reason})"
        where = f" on {self.nodes}" if self.nodes else ""
        after = f" after {self.elapsed}" if self.nodes and self.elapsed and outcome.ended else ""
        return f"Slurm job {self.job}: {words}{where}{after}"

    def _failure(self) -> str:
        if self.signal:
            return f"killed by signal {self.signal}{_named(self.signal)}"
        if self.code:
            return f"failed with exit code {self.code}"
        return f"failed ({self.reason})" if self.reason else "failed"


def squeue(text: str) -> dict[str, Seen]:
    """Read the output of `SQUEUE`; lines that are no jobs are left out.

    >>> squeue("42|PENDING|Resources||0:00|2026-11-21T04:00:00")["42"].sentence
    'Slurm job 42: it waits (Resources)'
    """
    found = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) in (6, 7) and _JOB.fullmatch(fields[0]):
            job, state, reason, nodes, elapsed, submitted = fields[:6]
            name, by = _state(state)
            found[job] = Seen(
                job,
                name,
                by,
                reason=_given(reason),
                nodes=_given(nodes),
                elapsed=_given(elapsed),
                submitted=_given(submitted),
                name=fields[6] if fields[6:] else None,
            )
    return found


def sacct(text: str) -> dict[str, Seen]:
    r"""Read the output of `SACCT` by the names in its first line; what the site prints before it is left out.

    >>> sacct("JobID|State|ExitCode\n42|FAILED|0:9\n")["42"].sentence
    'Slurm job 42: killed by signal 9 (SIGKILL)'
    """
    lines = [line.strip().split("|") for line in text.splitlines()]
    begin = next((n for n, fields in enumerate(lines) if {"JobID", "State"} <= set(fields)), None)
    if begin is None:
        return {}
    names, table = lines[begin], lines[begin + 1 :]
    rows = [dict(zip(names, fields, strict=True)) for fields in table if len(fields) == len(names)]
    # a job that went back into the queue has several rows: the last is the newest
    jobs = {row["JobID"]: row for row in rows if _JOB.fullmatch(row["JobID"])}
    return {job: _accounted(job, row, _steps(job, rows)) for job, row in jobs.items()}


def _steps(job: str, rows: Iterable[dict[str, str]]) -> tuple[str, ...]:
    return tuple(_state(row["State"])[0] for row in rows if row["JobID"].startswith(f"{job}."))


def _accounted(job: str, row: dict[str, str], steps: tuple[str, ...]) -> Seen:
    name, by = _state(row["State"])
    code, _, number = row.get("ExitCode", "").partition(":")
    return Seen(
        job=job,
        state=name,
        by=by,
        code=int(code) if code.isdigit() else None,
        signal=int(number) if number.isdigit() else 0,
        reason=_given(row.get("Reason")),
        nodes=_given(row.get("NodeList")),
        elapsed=_given(row.get("Elapsed")),
        submitted=_given(row.get("Submit")),
        steps=steps,
        name=row.get("JobName"),
    )


def judge(job: str, queue: str | None, accounts: str | None, submitted: str = "", name: str = "") -> Seen:
    """Say what became of a job.

    Parameters
    ----------
    queue
        Output of `SQUEUE`; None when the host could not be asked.
    accounts
        Output of `SACCT`; None when it could not be asked or keeps no accounts.
    submitted
        Time of submission by Slurm's own clock. Job numbers start again one day: an older job is another one.
    name
        Name of the job, where it tells the job from all others: then nothing depends on a clock.

    Returns
    -------
    Seen
        With outcome unknown when nobody knows the job, or they contradict each other.
    """
    asked, told = (
        found if found is None or _is(found, submitted, name) else None
        for found in (squeue(queue or "").get(job), sacct(accounts or "").get(job))
    )
    if told is not None and told.outcome.ended:
        # while a job ends the queue is ahead, and a job that went back into it has ended before
        return asked if asked is not None and asked.outcome in _ALIVE else told
    if asked is not None:
        return asked
    if told is None:
        nobody = queue is None and accounts is None
        return Seen(job, "", reason="the host could not be asked" if nobody else FORGOTTEN)
    if queue is None:
        return told
    return Seen(job, "", reason=f"squeue does not know it and sacct says {told.state}")


def _is(found: Seen, submitted: str, name: str) -> bool:
    if name and found.name:
        return found.name == name
    return not found.submitted or found.submitted >= submitted


def _state(text: str) -> tuple[str, str | None]:
    """Slurm's word in full, and who cancelled the job.

    >>> _state("CANCELLED by 1042"), _state("oom"), _state("CANCELLED+"), _state("ON_FIRE")
    (('CANCELLED', '1042'), ('OUT_OF_MEMORY', None), ('CANCELLED', None), ('ON_FIRE', None))
    """
    word, _, by = text.strip().partition(" by ")
    word = word.rstrip("+").upper()
    return _BY_CODE.get(word, word), by.strip() or None


def _given(text: str | None) -> str | None:
    return None if text is None or text.strip() in _NOTHING else text.strip()


def _named(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
