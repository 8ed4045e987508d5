"""A relay as a task of ecFlow: its counts on the task, and the moments at which it has to end."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ml_suite.errors import MlSuiteError
from ml_suite.home import home
from ml_suite.hosts.voice import clean
from ml_suite.relay.inbox import Inbox
from ml_suite.relay.relay import Relay, Report, news_of
from ml_suite.server.address import Address
from ml_suite.server.client import Server, connect
from ml_suite.watch import SUITE, agent, registry

SECONDS = 10.0
"""Between two messages to the server."""
SUPERSEDED = 7
"""Exit code when another try speaks for the task: this one must say nothing more."""
_WAIT = 2.0
_LONGEST_PAUSE = 60.0
"""Seconds while the spool or the server cannot be used."""
_MOST = 1000
"""Highest value of the meter."""
_LONGEST_OUTPUT = 5_000_000
"""Bytes of the job's output after which it begins again."""


class Resident:
    """What the task shows, gathered over some seconds.

    Parameters
    ----------
    state
        Folder of the relay.
    spool
        What it relays.
    """

    def __init__(self, address: Address, state: Path, spool: Path) -> None:
        self._address, self._state = address, state
        self._server: Server | None = None
        # by its name in the job: when this is asked, the shell may be gone already
        self._parent = int(os.environ.get("ECF_RID") or os.getppid())
        self._name, self._password = os.environ["ECF_NAME"], os.environ["ECF_PASS"]
        self._try = int(os.environ.get("ECF_TRYNO", "1"))
        self._made_of = {"ML_SUITE_LIB": os.environ.get("ML_SUITE_LIB", ""), "SPOOL": str(spool)}
        self._shown: dict[str, str] = {}
        """On the server, by meter or label."""
        self._said = 0
        self._since = Report()
        """What was done since the last line of output, and the trouble that it named."""
        self._printed: list[str] = []
        self._told = -SECONDS
        self._good = time.monotonic()
        """Begin of the last pass without trouble."""
        self._delay = 0.0

    def seen(self, report: Report, begun: float) -> int | None:
        """Take in what a pass did that began at BEGUN (`time.monotonic`).

        Returns
        -------
        Exit code when the relay has to end.
        """
        now = time.monotonic()
        # the oldest command that this pass brought was left just after the last one had looked
        self._delay = max(self._delay, now - self._good)
        if not report.trouble:
            self._good = begun
        self._said += report.said
        _add(self._since, report)
        if now - self._told < SECONDS:
            return self._orphaned()
        self._told = now
        self._print()
        counts = f"{self._said} said, {report.waiting} waiting, {len(Inbox(self._state).parked())} parked"
        if report.refused:
            counts += f", {report.refused} refused"
        # whole seconds, so that an idle relay is silent
        delay, self._delay = f"at most {math.ceil(self._delay)} s", 0.0
        trouble = clean("; ".join(report.trouble)) if report.trouble else "none"
        return self._tell(report.waiting, {"counts": counts, "delay": delay, "trouble": trouble})

    def waits(self, reason: str) -> int | None:
        """Say why it has not begun; returns as `seen`."""
        if time.monotonic() - self._told < SECONDS:
            return self._orphaned()
        self._told = time.monotonic()
        if self._printed != [reason]:
            self._printed = [reason]
            print(time.strftime("%Y-%m-%d %H:%M:%S"), reason, flush=True)
        return self._tell(0, {"trouble": clean(reason)})

    def _orphaned(self) -> int | None:
        """Without its shell nobody can stop it, and the task's next relay waits for it."""
        return SUPERSEDED if os.getppid() != self._parent else None

    def _tell(self, waiting: int, labels: dict[str, str]) -> int | None:
        try:
            self._server = self._server or connect(self._address)
            if (end := self._end(self._server)) is not None:
                return end
            if self._shown.get("waiting") != str(waiting):
                self._server.alter(self._name, "meter", "waiting", str(min(waiting, _MOST)))
                self._shown["waiting"] = str(waiting)
            for label, text in labels.items():
                if self._shown.get(label) != text:
                    self._server.alter(self._name, "label", label, text)
                    self._shown[label] = text
        except MlSuiteError:
            # the next message says it all again
            self._server, self._shown = None, {}
        return self._orphaned()

    def _end(self, server: Server) -> int | None:
        running = server.fetch(SUITE)
        node = running.nodes.get(self._name) if running else None
        if node is None or node.facts.get("passwd") != self._password or node.tries != self._try:
            return SUPERSEDED
        if node.state in ("complete", "aborted", "queued"):
            # somebody set it so
            return SUPERSEDED
        wanted = running.suite.structure + node.structure if running else ""
        if not all(f"edit {name} '{value}'\n" in wanted for name, value in self._made_of.items()):
            print("another version or spool was deployed: the next relay takes over", flush=True)
            return 0
        return None

    def _print(self) -> None:
        since, self._since = self._since, Report()
        news = list(news_of(since))
        if since.said or since.again or news or since.trouble != self._printed:
            _begin_again_if_long()
            for line in (str(since), *news):
                print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True)
        self._printed = since.trouble


def _add(total: Report, report: Report) -> None:
    total.said += report.said
    total.again += report.again
    total.coalesced += report.coalesced
    total.dropped += report.dropped
    total.parked += report.parked
    total.waiting, total.refused, total.trouble = report.waiting, report.refused, report.trouble


def _begin_again_if_long() -> None:
    """A job that runs for months must not fill the disk: its output is a file that starts over."""
    with suppress(OSError, ValueError):
        descriptor = sys.stdout.fileno()
        if os.fstat(descriptor).st_size > _LONGEST_OUTPUT:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)


def run(make: Callable[[], Relay], state: Path, spool: Path, interval: float, stop: threading.Event) -> int:
    """Relay until STOP is set or this try of the task is over.

    What keeps a relay from beginning is waited for: another one that still works (of an earlier try, or by hand), a
    host that is not known yet. The task would otherwise turn red again and again.

    Parameters
    ----------
    make
        Begin a relay; raises MlSuiteError while it cannot.

    Returns
    -------
    Exit code: 0 when it was stopped, `SUPERSEDED`, 1 when its own disk is full.
    """
    task = Resident(registry.mine(home()), state, spool)
    agent.adopt(home())
    while True:
        try:
            relay = make()
            break
        except MlSuiteError as error:
            if (end := task.waits(error.message)) is not None:
                return end
        if stop.wait(_WAIT):
            return 0
    try:
        return _relay(relay, task, interval, stop)
    except OSError as error:
        # the next relay starts from what is on the disk
        print(f"error: the relay cannot keep its state: {error}", file=sys.stderr)
        return 1
    finally:
        relay.close()


def _relay(relay: Relay, task: Resident, interval: float, stop: threading.Event) -> int:
    pause = interval
    while not stop.is_set():
        begun = time.monotonic()
        report = relay.once()
        if (end := task.seen(report, begun)) is not None:
            return end
        # a host that counts failing connections must not be asked every second
        pause = min(2 * pause, _LONGEST_PAUSE) if report.trouble else interval
        stop.wait(max(0.0, begun + pause - time.monotonic()))
    return 0
