"""What is to become of a job at a host, from what Slurm, its files and the ecFlow server say of it; pure functions.

Two mistakes are worse than any delay: to submit a job again while the first may still run, and to abort one that runs.
So nothing is decided from an answer that is missing, and what only silence tells must hold for a while. All durations
are counted in looks of this machine: no clock of another machine is compared with ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from ml_suite.hosts.states import Outcome, Seen

RESUBMISSIONS = 5
"""How often the machine may end a job before its task aborts."""
AGAIN = 75
"""Exit code of a job of a chain that the next one continues (EX_TEMPFAIL)."""

# Seconds that something must have held, each with the number of looks that saw it
SETTLED = (30.0, 2)
"""An ended job: a login node may see its last files later than a compute node wrote them."""
LOST = (120.0, 2)
"""What the job said and the server does not have: a server that crashed forgot it."""
QUEUED = (60.0, 2)
"""A task that is nobody's."""
VANISHED = (600.0, 3)
"""A job that nobody knows, or a task that the server does not have."""
SILENT = (900.0, 3)
"""A job that may still try to say its outcome: it does so for ten minutes."""
KEPT = (300.0, 3)
"""A task that ended: a server that crashes goes on from a checkpoint of up to two minutes before."""

_LONGEST_STEP = 120.0
"""Seconds that one look adds at most: looks that failed, and jumps of this machine's clock, prove nothing."""


class Standing(StrEnum):
    """What the ecFlow server has in the place of this submission."""

    BUSY = "busy"
    """This very submission, submitted or active."""
    ENDED = "ended"
    """This very submission, complete or aborted."""
    ANOTHER = "another"
    """A later submission."""
    QUEUED = "queued"
    """The task, with no submission: it was queued again."""
    GONE = "gone"
    """No such task."""
    UNKNOWN = "unknown"
    """It could not be asked."""


class Accounts(StrEnum):
    """How sacct answered."""

    ANSWERED = "answered"
    NONE = "none"
    """The site keeps none."""
    FAILED = "failed"


class Act(StrEnum):
    """What to do."""

    WAIT = "wait"
    SAY = "say"
    """Tell the ecFlow server `Verdict.word`."""
    RESUBMIT = "resubmit"
    """Submit one more job for the same try."""
    RESUME = "resume"
    """Take up a submission whose process died."""
    CLOSE = "close"
    """Nothing is left to do for this submission."""


@dataclass(frozen=True)
class Verdict:
    """What to do about one job, and why; a reason to wait is worth a line when it is new."""

    act: Act
    why: str = ""
    word: str = ""
    """``complete`` or ``abort REASON``."""
    cancel: tuple[str, ...] = ()
    """Slurm jobs to cancel as well."""


@dataclass(frozen=True)
class Memory:
    """For how long looks have seen the same."""

    seen: str = ""
    looks: int = 0
    held: float = 0.0
    """Seconds."""
    last: float = 0.0
    """Time of the last look."""
    told: str = ""
    """The last reason to wait that was printed."""
    brought: str = ""
    """What its files were like when its output was brought here."""

    def look(self, seen: str, now: float) -> Memory:
        """Add a look.

        >>> Memory().look("x", 0).look("x", 60).look("x", 86400).held
        180.0
        """
        if seen != self.seen:
            return replace(self, seen=seen, looks=1, held=0.0, last=now)
        step = min(max(0.0, now - self.last), _LONGEST_STEP)
        return replace(self, looks=self.looks + 1, held=self.held + step, last=now)


@dataclass(frozen=True)
class Evidence:
    """All that is known of a job that was submitted."""

    links: tuple[Seen, ...]
    """Its Slurm jobs, in the order of their submission."""
    queue: bool
    """squeue answered."""
    accounts: Accounts
    files: bool
    """The folder of jobs could be read."""
    folder: bool
    """The job's own folder is there."""
    word: str
    """First line of its outcome: ``complete``, ``abort REASON``, ``again`` (the next job of the chain goes on), or
    ``stopped ...``: it was told to end and leaves it to Slurm to say why."""
    said: bool
    """The job thinks that ecFlow, or the relay, has it."""
    fresh: bool
    """The last of its Slurm jobs wrote the outcome."""
    began: bool
    """One of its Slurm jobs began."""
    last_began: bool
    """The last of them began."""
    stopped: bool
    """A person stopped the task from ecFlow."""
    last_words: str
    """Its reason, or the last line of its output."""
    standing: Standing
    behind: bool = False
    """The relay has something of this host yet to say, so that an outcome would overtake it."""
    resubmissions: int = 0
    print_of_files: str = field(default="", repr=False)
    """Changes whenever its files do."""

    @property
    def final(self) -> bool:
        """The job wrote how it ended."""
        return self.word == "complete" or self.word.partition(" ")[0] == "abort"

    @property
    def parting(self) -> str:
        """What the job said last."""
        return self.word if self.word.startswith("stopped") else self.last_words

    @property
    def alive(self) -> tuple[str, ...]:
        """Slurm jobs that run or wait."""
        return tuple(s.job for s in self.links if s.outcome in (Outcome.RUNNING, Outcome.PENDING))

    @property
    def last(self) -> Seen:
        """The Slurm job whose end is the end of all: jobs of a chain that Slurm took back unused are passed over."""
        *before, last = self.links
        while before and before[-1].outcome is Outcome.COMPLETE and _never_began(last):
            last = before.pop()
        return last

    @property
    def seen(self) -> str:
        """All that must stay the same for silence to mean something."""
        slurm = [f"{s.job} {s.state}" for s in self.links]
        files = "" if self.alive else self.print_of_files
        return "|".join(
            (self.standing, *slurm, self.word, str(self.said), str(self.queue), self.accounts, files)
        )


def _never_began(seen: Seen) -> bool:
    return seen.outcome is Outcome.CANCELLED and seen.nodes is None


def decide(e: Evidence, memory: Memory) -> Verdict:
    """Say what becomes of a job.

    Parameters
    ----------
    memory
        With this look already in it.
    """
    if e.standing in (Standing.ANOTHER, Standing.QUEUED, Standing.GONE):
        return _superseded(e, memory)
    if e.final:
        return _after_its_word(e, memory)
    strange = next((s for s in e.links if s.outcome is Outcome.UNKNOWN and s.state), None)
    if strange:
        return Verdict(Act.WAIT, strange.sentence)
    if e.alive:
        stuck = next((s for s in e.links if s.stuck), None)
        waits = all(s.outcome is not Outcome.RUNNING for s in e.links)
        return Verdict(Act.WAIT, stuck.sentence if stuck and waits else "")
    if not e.links:
        return Verdict(Act.WAIT, "it was submitted and no Slurm job of it is known")
    if any(s.outcome is Outcome.UNKNOWN for s in e.links) and not e.queue:
        return Verdict(Act.WAIT, "squeue does not answer")
    if not e.files:
        return Verdict(Act.WAIT, "its folder cannot be read")
    last = e.last
    if e.standing is Standing.UNKNOWN:
        return Verdict(Act.WAIT, f"{last.sentence}, and the ecFlow server does not say what it has")
    if last.outcome is Outcome.UNKNOWN:
        return _nobody_knows(e, last, memory)
    if e.standing is Standing.ENDED:
        return _closed(f"{last.sentence}; its task had ended before", memory)
    if not _held(memory, SETTLED if e.folder else VANISHED) or e.behind:
        return Verdict(Act.WAIT)
    if e.stopped:
        return _abort(f"stopped from ecFlow: {last.sentence}")
    if last.outcome.blameless:
        return _again(e, last.sentence)
    if e.word == "again" and (last.code == AGAIN or (last.code is None and e.fresh)):
        return _again(e, "the next job of its chain is missing")
    return _abort(_with(_ended(last), e.parting if last.outcome is not Outcome.CANCELLED else ""))


def decide_unsubmitted(e: Evidence, memory: Memory, sent: bool) -> Verdict:
    """Say what becomes of a submission whose process died.

    Parameters
    ----------
    e
        Its links are the Slurm jobs of its name.
    sent
        It may have reached the host.
    """
    if e.standing is Standing.BUSY:
        return Verdict(Act.RESUME, "the process that submitted it died")
    if e.standing is Standing.UNKNOWN:
        return Verdict(Act.WAIT, "the process that submitted it died, and the ecFlow server does not answer")
    if e.standing is Standing.ENDED:
        return _closed("its submission was given up", memory) if not e.alive else Verdict(Act.WAIT)
    if sent and not _held(memory, SETTLED):
        return Verdict(Act.WAIT)
    return _superseded(e, memory)


def _superseded(e: Evidence, memory: Memory) -> Verdict:
    """The server has something else in its place, so nothing that this job says would be heard."""
    if e.standing is Standing.QUEUED and not _held(memory, QUEUED):
        return Verdict(Act.WAIT)
    if e.standing is Standing.GONE and not _held(memory, VANISHED):
        return Verdict(Act.WAIT, "the ecFlow server has no such task")
    why = {
        Standing.ANOTHER: "a later submission has taken its place",
        Standing.QUEUED: "its task was queued again",
        Standing.GONE: "its task was deleted",
    }[e.standing]
    if e.alive:
        return Verdict(Act.WAIT, f"{why}, and it still runs: cancelled", cancel=e.alive)
    if not e.queue or any(s.state for s in e.links if s.outcome is Outcome.UNKNOWN):
        return Verdict(Act.WAIT, f"{why}, and whether it still runs is unknown")
    return Verdict(Act.CLOSE, why)


def _after_its_word(e: Evidence, memory: Memory) -> Verdict:
    """The job wrote how it ended; what counts now is whether the server knows."""
    # COMPLETING: the script is over, its nodes are being cleared, and that may take hours
    if any(s.outcome is Outcome.RUNNING and s.state != "COMPLETING" for s in e.links):
        return Verdict(Act.WAIT)
    waiting = tuple(s.job for s in e.links if s.outcome is Outcome.PENDING)
    if e.standing is Standing.ENDED:
        return replace(_closed(_shortened(e.word), memory), cancel=waiting)
    if e.standing is Standing.UNKNOWN:
        return Verdict(Act.WAIT, "the ecFlow server does not say what it has", cancel=waiting)
    if e.behind:
        return Verdict(Act.WAIT, "the relay has yet to say what came before", cancel=waiting)
    silence = LOST if e.said else (0.0, 1) if e.queue else SILENT
    if not _held(memory, silence):
        return Verdict(Act.WAIT, cancel=waiting)
    why = "the server has forgotten what it said" if e.said else "it could not say how it ended"
    return Verdict(Act.SAY, why, e.word, waiting)


def _nobody_knows(e: Evidence, last: Seen, memory: Memory) -> Verdict:
    if not last.forgotten:
        return Verdict(Act.WAIT, last.sentence)
    if e.accounts is Accounts.FAILED:
        return Verdict(Act.WAIT, "squeue has forgotten it and sacct does not answer")
    if e.behind or not _held(memory, VANISHED):
        return Verdict(Act.WAIT)
    if e.standing is Standing.ENDED:
        return Verdict(Act.CLOSE, f"{last.sentence}; its task had ended before")
    if e.stopped:
        return _abort("stopped from ecFlow")
    if e.word == "again" and e.fresh:
        return _again(e, "the next job of its chain is missing")
    if not e.folder:
        return _abort(f"vanished: {last.sentence}, and its folder is gone")
    if not e.last_began and (not e.began or e.word == "again" or e.resubmissions):
        return _again(e, f"{last.sentence}, and it never began")
    return _abort(_with(f"vanished: {last.sentence}, and it left no word", e.parting))


def _again(e: Evidence, why: str) -> Verdict:
    if not e.folder:
        return _abort(f"{why}, its folder is gone, so it cannot be submitted again")
    if e.resubmissions < RESUBMISSIONS:
        return Verdict(Act.RESUBMIT, why)
    past = ", ".join(f"{s.job} {s.state or 'unknown'}" for s in e.links)
    return _abort(f"{why}, submitted again {e.resubmissions} times: {past}")


def _closed(why: str, memory: Memory) -> Verdict:
    return Verdict(Act.CLOSE, why) if _held(memory, KEPT) else Verdict(Act.WAIT)


def _abort(reason: str) -> Verdict:
    return Verdict(Act.SAY, reason, f"abort {reason}")


def _ended(last: Seen) -> str:
    silent = last.outcome is Outcome.COMPLETE
    return f"{last.sentence} without telling ecFlow" if silent else last.sentence


def _with(reason: str, last_words: str) -> str:
    return f"{reason}, last words: {last_words}" if last_words else reason


def _held(memory: Memory, least: tuple[float, int]) -> bool:
    seconds, looks = least
    return memory.held >= seconds and memory.looks >= looks


def _shortened(word: str) -> str:
    return word if len(word) <= 100 else word[:97] + "..."
