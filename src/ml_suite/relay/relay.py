"""Fetch, say, remember: one pass over a spool, and the lock that makes it the only one.

Every step may be cut off by ``kill -9``: a file is deleted on the far side only after it is durable here, a command is
marked as done only after the server took it, and a batch is deleted only after all its marks are durable. The one
command that may have been said without a mark is recognised by the state of its task.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import CredentialNeeded, HostError, MlSuiteError, ServerUnreachable
from ml_suite.relay.cursor import Cursor
from ml_suite.relay.inbox import Inbox
from ml_suite.relay.pull import Spool
from ml_suite.relay.replay import Known, Step, after, coalesce, due, judge, outcome
from ml_suite.relay.speak import Speaker
from ml_suite.relay.spool import Message, Refused, parse, split
from ml_suite.server.address import Address

GAP_SECONDS = 10.0
"""How long later commands of a job wait for one whose number was drawn but whose file is not to be seen."""
_TIDY_SECONDS = 3600.0


@dataclass
class Report:
    """What one pass did."""

    said: int = 0
    again: int = 0
    """Commands that the server had forgotten when it crashed."""
    coalesced: int = 0
    """Meters and labels that a later value overtook."""
    dropped: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    waiting: int = 0
    """Commands that are safe here and not said yet."""
    refused: int = 0
    """Files of the spool that were put aside there."""
    trouble: list[str] = field(default_factory=list)
    """Why the spool or the server could not be used."""

    def __str__(self) -> str:
        counts = {
            "said": self.said,
            "said again": self.again,
            "coalesced": self.coalesced,
            "dropped": len(self.dropped),
        }
        counts |= {"parked": len(self.parked), "waiting": self.waiting}
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing to say"
        return "; ".join((told, *self.trouble))


class Relay:
    """The only relay of one spool.

    Parameters
    ----------
    state
        Folder of this relay alone, on a local disk.

    Raises
    ------
    MlSuiteError
        If another relay uses the same folder.
    """

    def __init__(self, spool: Spool, state: Path, address: Address, gap_seconds: float = GAP_SECONDS) -> None:
        self._spool, self._address, self._gap_seconds = spool, address, gap_seconds
        self._inbox = Inbox(state)
        self._lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise MlSuiteError(
                f"another relay works in {state}", "One relay serves all suites of a host; end it first."
            ) from error
        self._cursor = Cursor(state / "cursor")
        self._speaker: Speaker | None = None
        self._batches = self._inbox.load()
        self._stored = {name for files in self._batches.values() for name in files}
        self._process = state / "server"
        self._watch = bool(self._inbox.load_said())
        """Something was said that a crash of the server might undo."""
        self._gaps: dict[str, tuple[int, float]] = {}
        self._tidied = -_TIDY_SECONDS

    def close(self) -> None:
        """Let another relay begin."""
        self._cursor.close()
        os.close(self._lock)

    def once(self) -> Report:
        """Fetch what is new and say what the server will take; trouble is in the report and nothing is lost by it."""
        report = Report()
        try:
            self._fetch(report)
        except (HostError, CredentialNeeded) as error:
            report.trouble.append(str(error).replace("\n  ", ": "))
        pending = self._pending(report)
        try:
            self._replay(pending, report)
        except ServerUnreachable as error:
            self._speaker = None
            report.trouble.append(error.message)
        self._cursor.sync()
        self._discard()
        names = {name for files in self._batches.values() for name in files}
        report.waiting = sum(not self._done(name) for name in names)
        return report

    def again(self) -> Report:
        """Try the commands once more that were parked; those that the server still does not want stay parked."""
        report = Report()
        try:
            speaker = self._speaker = self._speaker or Speaker(self._address)
            speaker.look()
            known: dict[str, Known | None] = {}
            for name in sorted(self._inbox.parked()):
                self._retry(speaker, name, known, report)
        except ServerUnreachable as error:
            report.trouble.append(error.message)
        report.parked = [f"{name}: {reason}" for name, reason in self._inbox.parked().items()]
        return report

    def _retry(self, speaker: Speaker, name: str, known: dict[str, Known | None], report: Report) -> None:
        try:
            message = parse(name, self._inbox.read_parked(name))
        except Refused:
            return
        if message.path not in known:
            known[message.path] = speaker.task(message.path)
        task = known[message.path]
        fate, why = judge(message, task, doubtful=True)
        if fate == "park":
            return
        if fate == "say" and task is not None:
            if speaker.say(message):
                return
            known[message.path] = after(message, task)
            report.said += 1
        elif fate == "drop":
            report.dropped.append(f"{message}: {why}")
        self._inbox.forget(name)

    def _fetch(self, report: Report) -> None:
        tidy = time.monotonic() - self._tidied >= _TIDY_SECONDS
        taken = self._spool.exchange(self._stored, tidy)
        if tidy:
            self._tidied = time.monotonic()
        new = {name: content for name, content in taken.files.items() if not self._done(name)}
        report.refused = taken.refused
        if new:
            self._batches[self._inbox.store(new)] = new
        # what came now is deleted there by the next round trip, and not before it is on disk here
        self._stored = set(taken.files)

    def _pending(self, report: Report) -> dict[str, list[Message]]:
        """Messages by counter; what is no message is parked."""
        pending: dict[str, dict[int, Message]] = defaultdict(dict)
        for files in self._batches.values():
            for name, content in files.items():
                if self._done(name):
                    continue
                try:
                    message = parse(name, content)
                    pending[message.key][message.number] = message
                except Refused as error:
                    self._park(name, content, f"no child command: {error}", report)
        return {key: list(messages.values()) for key, messages in pending.items()}

    def _replay(self, pending: dict[str, list[Message]], report: Report) -> None:
        ready = {key: found for key, messages in pending.items() if (found := self._ready(key, messages))}
        if not ready and not self._watch:
            return
        if self._speaker is None:
            self._speaker = Speaker(self._address)
        self._speaker.look()
        self._remind(self._speaker, report)
        for messages in ready.values():
            known: dict[str, Known | None] = {}
            for step in coalesce(messages):
                self._take(self._speaker, step, known, report)

    def _remind(self, speaker: Speaker, report: Report) -> None:
        """Say again what a server that crashed has forgotten since its last checkpoint."""
        process = f"{self._address} {speaker.process}"
        before = self._process.read_text() if self._process.exists() else process
        if before != process:
            runs: dict[tuple[str, str, int], list[Message]] = defaultdict(list)
            for name, content in self._inbox.load_said().items():
                with contextlib.suppress(Refused):
                    message = parse(name, content)
                    runs[message.run].append(message)
            for messages in runs.values():
                self._remind_of(speaker, outcome(messages), report)
            speaker.look()
        if before != process or not self._process.exists():
            atomic.write(self._process, process, 0o600)

    @staticmethod
    def _remind_of(speaker: Speaker, messages: list[Message], report: Report) -> None:
        task = speaker.task(messages[0].path)
        for message in messages:
            if task is None or judge(message, task, doubtful=True)[0] != "say":
                continue
            if not speaker.say(message):
                report.again += 1
                if message.settles:
                    task = replace(task, state=after(message, task).state, pid=message.pid)

    def _ready(self, key: str, messages: list[Message]) -> list[Message]:
        """Commands whose turn it is; after a while the ones behind a gap too."""
        expected = self._cursor.next(key)
        found = due(messages, expected)
        if len(found) == len(messages):
            self._gaps.pop(key, None)
            return found
        missing = found[-1].number + 1 if found and found[-1].number >= expected else expected
        since = self._gaps.setdefault(key, (missing, time.monotonic()))
        if since[0] != missing:
            since = self._gaps[key] = (missing, time.monotonic())
        if time.monotonic() - since[1] < self._gap_seconds:
            return found
        return sorted(messages, key=lambda m: m.number)

    def _take(self, speaker: Speaker, step: Step, known: dict[str, Known | None], report: Report) -> None:
        message = step.message
        doubtful = message.path not in known
        if doubtful:
            known[message.path] = speaker.task(message.path)
        task = known[message.path]
        fate, why = judge(message, task, doubtful)
        if fate == "say" and task is not None:
            if refusal := speaker.say(message):
                # the task may have changed since it was looked at
                fate, why = judge(message, speaker.task(message.path), doubtful=True)
                fate, why = ("park", refusal) if fate == "say" else (fate, why)
            else:
                known[message.path] = after(message, task)
                report.said += 1
                report.coalesced += len(step.numbers) - 1
        if fate == "park":
            self._park(message.name, self._content(message.name), f"{why} ({message})", report, mark=False)
        elif fate == "drop":
            report.dropped.append(f"{message}: {why}")
        self._cursor.mark(message.key, step.numbers)

    def _park(self, name: str, content: bytes, reason: str, report: Report, mark: bool = True) -> None:
        self._inbox.park(name, content, reason)
        report.parked.append(f"{name}: {reason}")
        place = split(name)
        if mark and place is not None:
            self._cursor.mark(place[0], [place[1]])

    def _content(self, name: str) -> bytes:
        return next(files[name] for files in self._batches.values() if name in files)

    def _done(self, name: str) -> bool:
        place = split(name)
        return place is None or self._cursor.done(*place)

    def _discard(self) -> None:
        for path in [path for path, files in self._batches.items() if all(map(self._done, files))]:
            self._inbox.said(path)
            del self._batches[path]
            self._watch = True


def news_of(report: Report) -> Iterable[str]:
    """Lines that a person should read, beyond the counts."""
    yield from (f"dropped {line}" for line in report.dropped)
    yield from (f"parked {line}" for line in report.parked)
    if report.refused:
        yield f"{report.refused} files of the spool were put aside: see its folder refused"
