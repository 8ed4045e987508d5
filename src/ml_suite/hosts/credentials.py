"""Whether jobs can reach a host now, for how long, and the login that a person does. Standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from ml_suite.errors import CredentialNeeded, HostBusy, HostError, HostUnreachable, OutcomeUnknown
from ml_suite.hosts import channel, mux, sshconfig
from ml_suite.hosts.askpass import Ask
from ml_suite.hosts.reach import Reach

EXPIRING = timedelta(hours=1)
"""The end is near when less is left, or less than a quarter of a short credential."""

Name = Literal["ready", "ready-expiring", "ready-expired", "needs-human", "down"]


@dataclass(frozen=True)
class State:
    """How one endpoint of a host can be reached."""

    name: Name
    minutes: int | None = None
    """Left of the login or certificate, 0 after its end; None: it does not end, or nothing is open."""
    reason: str = ""
    hint: str | None = None
    """The one command to type."""

    @property
    def open(self) -> bool:
        """Commands can be sent."""
        return self.name.startswith("ready")


def state(way: Reach, connect: bool = True) -> State:
    """Ask the host with a real command.

    Parameters
    ----------
    connect
        Open the connection when there is none and that needs no person.
    """
    try:
        probe(way, connect)
    except CredentialNeeded as error:
        return State("needs-human", reason=error.message, hint=error.hint)
    except HostBusy as error:
        return State("ready", minutes_left(way), error.message)
    except HostError as error:
        return State("down", reason=error.message, hint=error.hint)
    return _open_state(way, minutes_left(way))


def probe(way: Reach, connect: bool = True) -> None:
    """Send `true`, or for an endpoint without commands open the connection.

    Raises
    ------
    MlSuiteError
        As `channel.run`.
    """
    if way.shell:
        channel.run(way, ["true"], timeout=channel.PROBE, connect=connect)
    elif connect:
        mux.open_master(way)
    elif not mux.listening(way):
        raise HostError(f"{way.name}: no connection is open", mux.login_hint(way))


def minutes_left(way: Reach) -> int | None:
    """Minutes until the login or the certificate ends, 0 after; None: it does not end."""
    if way.auth == "certificate":
        found = sshconfig.certificate_of(way)
        left = found.seconds_left(datetime.now(UTC)) if found else 0.0
        return None if left == float("inf") else max(0, int(left // 60))
    master = mux.master(way)
    if way.lifetime is None or master is None:
        return None
    return max(0, int((master.opened + way.lifetime - time.time()) // 60))


def _open_state(way: Reach, minutes: int | None) -> State:
    hint = mux.renewal_hint(way) if way.auth == "certificate" else mux.login_hint(way)
    if minutes is None or way.auth == "key":
        return State("ready")
    if minutes == 0:
        return State("ready-expired", 0, "the connection is open, but cannot be opened again", hint)
    near = min(EXPIRING.total_seconds(), (way.lifetime or float("inf")) / 4)
    if minutes * 60 < near:
        return State("ready-expiring", minutes, f"ends in {minutes} min", hint)
    return State("ready", minutes)


def login(way: Reach, ask: Ask) -> State:
    """Open the connection with a person; nothing happens if it is open.

    Parameters
    ----------
    ask
        Answers what ssh asks: a code, a passphrase, whether an unknown host key is right.

    Raises
    ------
    CredentialNeeded
        If the certificate has ended, or the host refused what it was given.
    HostUnreachable
        If it does not answer.
    HostError
        If its key has changed, or the open connection leads nowhere.
    """
    if way.here:
        return State("ready")
    if mux.listening(way):
        try:
            probe(way, connect=False)
        except OutcomeUnknown:
            # a person is here: a new login costs nothing but the code
            mux.close_master(way)
    if not mux.listening(way):
        if way.auth == "certificate":
            mux.refuse_unattended(way)
        mux.open_master(way, ask)
        try:
            probe(way, connect=False)
        except HostUnreachable as error:
            hint = "Ask the site, or look whether your account is open there."
            raise HostUnreachable(f"{way.host} took the login and closed the connection", hint) from error
    return _open_state(way, minutes_left(way))
