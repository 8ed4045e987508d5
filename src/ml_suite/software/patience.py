"""Repeat what is safe to repeat while a host cannot be reached, or waits for its person."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ml_suite.errors import CredentialNeeded, HostBusy, HostUnreachable, OutcomeUnknown
from ml_suite.hosts import channel
from ml_suite.hosts.reach import Reach

T = TypeVar("T")

Say = Callable[[str], None]
"""Tells a person how it is going."""

COMMAND = 300.0
"""Seconds for one command."""


@dataclass(frozen=True)
class Patience:
    """How long to go on without contact, in seconds."""

    silence: float = 900.0
    """A host that does not answer."""
    login: float = 86400.0
    """A login that ended in the middle: nothing is lost by waiting."""
    pause: float = 5.0
    """Between two attempts, doubled up to a minute."""


@dataclass(frozen=True)
class Line:
    """Commands to one host that are all safe to repeat."""

    way: Reach
    say: Say = print
    patience: Patience = Patience()

    def run(
        self, what: Sequence[str] | str, stdin: bytes | str | None = None, timeout: float = COMMAND
    ) -> channel.Done:
        """Run a command, again and again until its end is known.

        Raises
        ------
        MlSuiteError
            As `channel.run`, when patience is at its end.
        """
        return self.patiently(lambda: channel.run(self.way, what, stdin, timeout))

    def patiently(self, what: Callable[[], T]) -> T:
        """Do what is safe to repeat, again and again until its end is known.

        Raises
        ------
        MlSuiteError
            As WHAT does, at once or when patience is at its end.
        """
        start, pause, told = time.monotonic(), self.patience.pause, ""
        while True:
            try:
                return what()
            except (HostBusy, HostUnreachable, OutcomeUnknown, CredentialNeeded) as error:
                login = isinstance(error, CredentialNeeded)
                if time.monotonic() - start > (self.patience.login if login else self.patience.silence):
                    raise
                if error.message != told:
                    told = error.message
                    self.say(f"waits: {error.hint if login and error.hint else error.message}")
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2 * pause, 60.0)
