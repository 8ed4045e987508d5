"""``python -m ml_suite.hosts.sweep HOST``: what became of the jobs of a host; ecFlow is told what they could not say.

One question for the jobs of all suites. A host that cannot be asked leaves everything as it is. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import CredentialNeeded, HostBusy, HostUnreachable, MlSuiteError, OutcomeUnknown
from ml_suite.home import home
from ml_suite.hosts import channel, reach, slurm, submission
from ml_suite.hosts.deputy import PATIENCE, Job, Voice, bring, close, label, last_words, note, resume, settle
from ml_suite.hosts.jobfile import ENDED, SUBMITTING, files_of
from ml_suite.hosts.look import Files, Look, look
from ml_suite.hosts.reach import Reach
from ml_suite.hosts.standing import Place, Servers
from ml_suite.hosts.verdict import Act, Evidence, Memory, Standing, Verdict, decide, decide_unsubmitted
from ml_suite.hosts.voice import clean, say


def jobs_of(host: str, folder: Path) -> Iterator[Job]:
    """Submissions of a host below FOLDER that have not ended, and orphans for which none was chosen."""
    for record in sorted(folder.rglob("*.job")):
        files = files_of(record.with_name(record.name.removesuffix(".job")))
        remote = files.remote
        if remote is None or remote.host not in (host, "") or remote.state == ENDED or remote.in_hand:
            continue
        try:
            credentials = files.credentials()
        except OSError:
            credentials = {}
        yield Job(files, remote, credentials)


class Sweep:
    """One look at a host and what follows from it.

    Parameters
    ----------
    state
        File that keeps what earlier looks saw.
    """

    def __init__(
        self,
        way: Reach,
        state: Path,
        tell: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._way, self._state, self._tell, self._clock = way, state, tell, clock
        self._servers = Servers()
        self._cancel: list[str] = []
        self._withdraw: list[str] = []
        self._lost = False
        """The host stopped answering in the middle of the look: no more is submitted."""

    def run(self, folder: Path) -> None:
        """Look once.

        Raises
        ------
        MlSuiteError
            If the host could not be asked: nothing was done.
        """
        jobs = list(jobs_of(self._way.host, folder))
        if not jobs:
            self._state.unlink(missing_ok=True)
            return
        memories = _load(self._state)
        known = {job.name: memories.get(job.name, Memory()) for job in jobs}
        seen = look(self._way, [(job.remote, job.counter, known[job.name].brought) for job in jobs])
        if seen.complaint:
            self._tell(f"{self._way.host}: {seen.complaint}")
        try:
            for job in jobs:
                after = self._take(job, seen, known[job.name])
                if after is None:
                    del known[job.name]
                else:
                    known[job.name] = after
        finally:
            text = json.dumps({key: asdict(memory) for key, memory in known.items()}, indent=1)
            atomic.write(self._state, text, mode=0o600)
        self._cancel_all()

    def _take(self, job: Job, seen: Look, memory: Memory) -> Memory | None:
        """Judge one job and act; what to keep of it, None for nothing."""
        files, place = seen.of(job.remote), self._place(job)
        evidence = _evidence(job, seen, place, files.spooled or _inbox(job.remote.host))
        memory = memory.look(evidence.seen, self._clock())
        if job.remote.orphaned:
            verdict = decide_unsubmitted(evidence, memory, sent=job.remote.state == SUBMITTING)
        else:
            verdict = decide(evidence, memory)
        if files.output is not None:
            if place.standing in (Standing.BUSY, Standing.ENDED):
                bring(job, files, files.output)
            memory = replace(memory, brought=files.print)
        settle(
            job, bool(evidence.links) and files.word != "" and all(s.outcome.ended for s in evidence.links)
        )
        self._cancel += verdict.cancel
        if verdict.cancel and place.standing not in (Standing.BUSY, Standing.ENDED):
            self._withdraw.append(job.remote.folder)
        return self._act(job, verdict, place, memory)

    def _place(self, job: Job) -> Place:
        if job.superseded:
            return Place(Standing.ANOTHER)
        if not job.credentials:
            return Place(
                Standing.UNKNOWN, trouble=f"{job.files.script} is gone: nobody can speak for its job"
            )
        return self._servers.ask(job.credentials)

    def _act(self, job: Job, verdict: Verdict, place: Place, memory: Memory) -> Memory | None:
        voice = Voice.of(job, place.rid)
        if verdict.act is Act.WAIT:
            why = "; ".join(filter(None, (verdict.why, place.trouble)))
            if why and why != memory.told:
                self._tell(f"{job}: {why}")
                label(voice, place, why)
            return replace(memory, told=why)
        if verdict.act is Act.CLOSE:
            close(job)
            self._tell(f"{job}: ended: {verdict.why}")
            return None
        if verdict.act is Act.SAY:
            self._say(job, voice, verdict)
        elif verdict.act is Act.RESUBMIT:
            return self._resubmit(job, voice, place, verdict, memory)
        elif verdict.act is Act.RESUME:
            self._tell(f"{job}: {verdict.why}: {resume(job)}")
        return memory

    def _say(self, job: Job, voice: Voice, verdict: Verdict) -> None:
        if verdict.word.endswith(verdict.why):
            note(job, f"sweep: {verdict.word}")
        told = say(voice, verdict.word, patience=PATIENCE)
        why = "" if verdict.word.endswith(verdict.why) else f" ({verdict.why})"
        self._tell(
            f"{job}: {clean(verdict.word)}{why}{'' if told else '; the ecFlow server did not take it'}"
        )

    def _resubmit(
        self, job: Job, voice: Voice, place: Place, verdict: Verdict, memory: Memory
    ) -> Memory | None:
        if self._lost:
            return memory
        try:
            remote = slurm.resubmit(job.files)
        except submission.Refused as error:
            reason = f"{verdict.why}, it could not be submitted again: {error.message}"
            self._say(job, voice, replace(verdict, why=reason, word=f"abort {reason}"))
            return memory
        except MlSuiteError as error:
            self._lost = isinstance(error, HostUnreachable | HostBusy | OutcomeUnknown | CredentialNeeded)
            why = f"{verdict.why}; it could not be submitted again: {error.message}"
            if why != memory.told:
                self._tell(f"{job}: {why}")
            return replace(memory, told=why)
        words = f"submitted again as Slurm job {', '.join(remote.ids[len(job.remote.ids) :])}: {verdict.why}"
        note(job, f"sweep: {words}")
        label(voice, place, words)
        self._tell(f"{job}: {words}")
        return None

    def _cancel_all(self) -> None:
        if not self._cancel:
            return
        words = ["sh", "-c", _CANCEL, "cancel", " ".join(self._cancel), *self._withdraw]
        done = channel.run(self._way, words)
        if done.code:
            self._tell(f"{self._way.host}: scancel {' '.join(self._cancel)}: {done.err.strip()[:200]}")


_CANCEL = (
    'ids=$1; shift; for folder; do [ ! -d "$folder" ] || : >"$folder/withdrawn"; done; exec scancel $ids'
)
"""A job that starts in this very moment sees that it was withdrawn."""


def _evidence(job: Job, seen: Look, place: Place, behind: bool) -> Evidence:
    files, links = seen.of(job.remote), seen.links(job.remote)
    secrets = (job.credentials.get("ECF_PASS", ""),)
    return Evidence(
        links=links,
        queue=seen.queue is not None,
        accounts=seen.accounts,
        files=files.readable,
        folder=files.folder,
        word=files.word,
        said=files.said,
        fresh=files.fresh,
        began=bool(files.claims),
        last_began=bool(links) and links[-1].job in files.claims.values(),
        stopped=files.stopped,
        last_words=last_words(files.reason, _output_of(job, files), secrets),
        standing=place.standing,
        behind=behind,
        resubmissions=job.remote.resubmissions,
        print_of_files=files.print,
    )


def _output_of(job: Job, files: Files) -> str:
    """The job's output, from the host or as it was brought before."""
    if files.output is not None:
        return files.output
    with contextlib.suppress(OSError):
        return "" if job.superseded else job.files.output.read_text(errors="replace")
    return ""


def _inbox(host: str) -> bool:
    """Whether the relay beside the server has something of this host that it has not said."""
    folders = (f for f in (home() / "relay").glob("*/inbox") if f.parent.name.rpartition("-")[0] == host)
    return any(True for folder in folders for _ in folder.glob("*.tar"))


def _load(state: Path) -> dict[str, Memory]:
    try:
        return {key: Memory(**fields) for key, fields in json.loads(state.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # it only delays what must hold for a while
        return {}


def main(arguments: list[str] | None = None) -> int:
    """Look once, or again and again; 0 also when the host could not be asked."""
    parser = argparse.ArgumentParser(prog="python -m ml_suite.hosts.sweep", description=__doc__)
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("--jobs", type=Path, metavar="FOLDER", help="default: ML_SUITE_HOME/jobs")
    often = parser.add_mutually_exclusive_group()
    often.add_argument("--once", action="store_true", help="one look; so it is without --every too")
    often.add_argument("--every", type=float, metavar="SECONDS", help="look again and again")
    options = parser.parse_args(arguments)
    try:
        way = reach.known(options.host)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    folder = home() / "sweep"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / f"{options.host}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another sweep of {options.host} is at work")
            return 0
        while True:
            try:
                Sweep(way, folder / f"{options.host}.json", _print).run(options.jobs or home() / "jobs")
            except OSError as error:
                # its own disk is full: the next look starts from what is on it
                print(f"error: the sweep cannot keep what it saw: {error}", file=sys.stderr)
                return 1
            except MlSuiteError as error:
                _print(f"{options.host} could not be asked, its jobs stay as they are: {error.message}")
            if not options.every:
                return 0
            time.sleep(options.every)


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
