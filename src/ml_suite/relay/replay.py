"""What is to become of spooled commands: order, gaps, coalescing, and whether the server still wants them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ml_suite.relay.spool import Message

Fate = Literal["say", "done", "drop", "park"]


@dataclass(frozen=True)
class Known:
    """A task as the server has it."""

    state: str
    try_number: int
    password: str = field(repr=False)
    pid: str
    meters: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A command to say and the ones that it stands for."""

    message: Message
    numbers: tuple[int, ...]
    """Of the command itself and of the meters and labels that it overtakes."""


def due(messages: Iterable[Message], expected: int) -> list[Message]:
    """Commands of one counter in order, up to the first number that is missing.

    Numbers below EXPECTED were missing before and have turned up.
    """
    found: list[Message] = []
    for message in sorted(messages, key=lambda m: m.number):
        if message.number > expected:
            break
        expected = max(expected, message.number + 1)
        found.append(message)
    return found


def coalesce(messages: Sequence[Message]) -> list[Step]:
    """Keep the last value of each meter and label between two commands that must all be said.

    An init, event, complete or abort may set off a trigger that looks at meters, so none is moved across it.
    """
    steps: list[Step] = []
    latest: dict[tuple[str, str, tuple[str, str, int]], int] = {}
    for message in messages:
        numbers: tuple[int, ...] = (message.number,)
        if message.verb in ("meter", "label"):
            what = (message.verb, message.arguments[0], message.run)
            if (before := latest.get(what)) is not None:
                numbers = (*steps[before].numbers, message.number)
                steps[before] = Step(steps[before].message, ())
            latest[what] = len(steps)
        else:
            latest.clear()
        steps.append(Step(message, numbers))
    return [step for step in steps if step.numbers]


def outcome(messages: Iterable[Message]) -> list[Message]:
    """What a run's commands come to: its init, the last values, its end; said again when the server forgot them."""
    last: dict[tuple[str, str], Message] = {}
    for message in sorted(messages, key=lambda m: m.number):
        verb = "end" if message.verb in ("complete", "abort") else message.verb
        last[verb, message.arguments[0] if verb in ("event", "meter", "label") else ""] = message
    order = {"init": 0, "complete": 2, "abort": 2}
    return sorted(last.values(), key=lambda m: (order.get(m.verb, 1), m.number))


def judge(message: Message, known: Known | None, doubtful: bool) -> tuple[Fate, str]:
    """Decide about one command and say why.

    Parameters
    ----------
    known
        The task as the server has it now; None when there is none.
    doubtful
        The command may have been said already, just before this process or the connection died.
    """
    if known is None:
        return "park", "the server has no such task"
    if (known.try_number, known.password) != (message.try_number, message.password):
        return "drop", f"superseded: the task is {known.state}, try {known.try_number}"
    if known.state not in ("submitted", "active"):
        if message.verb == {"complete": "complete", "aborted": "abort"}.get(known.state):
            return "done", ""
        if message.settles:
            return "park", f"the task is {known.state} already"
        return "drop", f"the task is {known.state} already"
    if known.state == "active" and known.pid and message.pid != known.pid:
        other = f"another process of the same try speaks for the task, pid {known.pid}"
        return ("park" if message.settles else "drop"), other
    if doubtful and _holds(message, known):
        return "done", ""
    return "say", ""


def after(message: Message, known: Known) -> Known:
    """The task once the server took the command, as far as `judge` looks at it."""
    states = {"init": "active", "complete": "complete", "abort": "aborted"}
    pid = message.pid if message.verb == "init" else known.pid
    return Known(states.get(message.verb, known.state), known.try_number, known.password, pid)


def _holds(message: Message, known: Known) -> bool:
    """Whether the task is as if the command had been said."""
    if message.verb == "init":
        return known.state == "active"
    if message.verb == "meter":
        return known.meters.get(message.arguments[0]) == int(message.arguments[1])
    if message.verb == "label":
        return known.labels.get(message.arguments[0]) == message.text
    if message.verb == "event":
        return known.events.get(message.arguments[0]) == (message.arguments[1:] != ("clear",))
    return False
