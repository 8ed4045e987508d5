"""Show on the server whether a host can be reached, and hold back the tasks of all suites while it cannot."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from ml_suite.config.values import node_name
from ml_suite.errors import MlSuiteError
from ml_suite.hosts import credentials, limits, reach
from ml_suite.hosts.credentials import State
from ml_suite.hosts.reach import Reach
from ml_suite.hosts.voice import clean
from ml_suite.server.address import Address
from ml_suite.server.client import Server, connect
from ml_suite.server.definition import Node, attributes
from ml_suite.watch import OPEN, SUITE, registry

DAY = 1440
"""Minutes: the highest value of the meter, also of what does not end."""

_WORST = ("needs-human", "down", "ready-expired", "ready-expiring", "ready")
"""A person's duty first: an endpoint that is down comes back by itself."""


@dataclass(frozen=True)
class Seen:
    """What is shown of a host."""

    open: bool
    minutes: int
    """For the meter."""
    text: str
    """For the label: the state, and the one command to type."""
    reason: str = ""


def look(host: str) -> Seen:
    """Send a real command to each endpoint of a host; opens connections that need no person, with their back-off.

    Raises
    ------
    HostError
        If nothing is known of how to reach it.
    """
    ways = dict.fromkeys((reach.known(host), reach.known(host, reach.TRANSFER)))
    return seen({way: credentials.state(way) for way in ways})


def seen(states: dict[Reach, State]) -> Seen:
    """Sum up the endpoints of a host: it is as open as the worst of them."""
    way, worst = min(states.items(), key=lambda item: _WORST.index(item[1].name))
    left = min((state.minutes for state in states.values() if state.minutes is not None), default=DAY)
    shown = min(left, DAY) if worst.open else 0
    pause = limits.read(way.file("attempts.json")).pause(time.time())
    return Seen(worst.open, shown, clean(wording(worst, None if left == DAY else left, pause)), worst.reason)


def wording(state: State, minutes: int | None, pause: float) -> str:
    """The label: short enough for one line of a tree.

    >>> wording(State("ready", 700), 700, 0.0)
    'ready, 11 h 40 min'
    >>> wording(State("needs-human", reason="big wants a code", hint="Run: ml-suite hosts login big"), None, 0.0)
    'needs-human: ml-suite hosts login big'
    >>> wording(State("down", reason="big does not answer (next attempt in 44 s)"), None, 40.0)
    'down: big does not answer; next attempt in 40 s'
    """
    command = (state.hint or "").removeprefix("Run: ") or state.reason
    match state.name:
        case "ready":
            return "ready" if minutes is None else f"ready, {span(minutes)}"
        case "ready-expiring":
            return f"ready-expiring, {span(minutes or 0)}: {command}"
        case "ready-expired" | "needs-human":
            return f"{state.name}: {command}"
    reason = state.reason.partition(" (next attempt")[0]
    return f"down: {reason}" + (f"; next attempt in {pause:.0f} s" if pause else "")


def span(minutes: int) -> str:
    """Minutes as people say them.

    >>> span(45), span(120), span(700)
    ('45 min', '2 h', '11 h 40 min')
    """
    hours, rest = divmod(minutes, 60)
    return (
        " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)
        or "0 min"
    )


def show(server: Server, host: str, now: Seen) -> str | None:
    """Bring meter, label, event and limit of a host up to date.

    Returns
    -------
    A line for a person when the host was opened or closed by this, else None. The limit itself remembers what was
    said, so a closing is told once, whoever looks and however often the server starts again.
    """
    node = node_of(server, host)
    if node is None:
        return None
    held = {a.key: a for a in attributes(node)}
    closed = held["limit", "open"].value == "0"
    if closed == now.open:
        server.alter(node.path, "limit_max", "open", str(OPEN if now.open else 0))
    if (held["event", "closed"].runtime == "set") == now.open:
        server.alter(node.path, "event", "closed", "clear" if now.open else "set")
    # a meter at its lowest value has no state
    if int(held["meter", "minutes"].runtime or 0) != now.minutes:
        server.alter(node.path, "meter", "minutes", str(now.minutes))
    if held["label", "state"].runtime.strip('"') != now.text:
        server.alter(node.path, "label", "state", now.text)
    if closed != now.open:
        return None
    line = f"{host} is open: {now.text}" if now.open else f"{host} is closed: {now.text}"
    server.write_log(f"{SUITE}: {line}")
    return line


def node_of(server: Server, host: str) -> Node | None:
    """The family of a host; None when the server does not watch it."""
    running = server.fetch(SUITE)
    return running.nodes.get(f"/{SUITE}/{node_name(host)}") if running else None


def publish(host: str, states: dict[Reach, State], home: Path, address: Address | None = None) -> None:
    """Show at once what a login found, on every server that watches the host; nothing happens without one.

    Parameters
    ----------
    address
        The only server to tell.
    """
    with contextlib.suppress(MlSuiteError):
        now = seen(states)
        for one in [address] if address else _servers(home, host):
            with contextlib.suppress(MlSuiteError):
                show(connect(one), host, now)


def _servers(home: Path, host: str) -> list[Address]:
    found = []
    for one in registry.read(home).values():
        if host in (watched.name for watched in one.hosts):
            with contextlib.suppress(MlSuiteError):
                found.append(registry.reached(home, one))
    return found
