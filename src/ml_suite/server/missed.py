"""What jobs said between reading a suite and replacing it.

The replace puts back the state that was read, so a job that said ``complete`` in these milliseconds would stay active
for ever. The server's log has every message in order; the ones of the gap are said again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ml_suite.server.client import Server
from ml_suite.server.definition import Definition

_LINE = re.compile(r"^(?:LOG|MSG):\[[^\]]*\] ?(.*)$")
_STATE = re.compile(r"^ (active|complete|aborted|queued): (/\S+)(?: try-no: \d+ reason: (.*))?")
_METER = re.compile(r"^chd:meter (\S+) (-?\d+) (/\S+)$")
_EVENT = re.compile(r"^chd:event (.+) ([01]) (/\S+)$")
_LABEL = re.compile(r"^chd:label (\S+) '(.*)' (/\S+)$")

Kind = Literal["active", "complete", "aborted", "queued", "meter", "event", "label"]
_STATES = frozenset({"active", "complete", "aborted", "queued"})


@dataclass(frozen=True)
class Message:
    """One thing that a job said and the server accepted."""

    path: str
    kind: Kind
    name: str = ""
    value: str = ""
    """Of a meter, label or event; the reason of an abort."""


def between(log: Iterable[str], begin: str, suite: str) -> list[Message] | None:
    """Messages of a suite's jobs after the line that holds BEGIN and before the next replace of the suite.

    States are taken from the server's own account, so a message that it refused (of a zombie) is not in it.

    Returns
    -------
    None when the log does not reach back to BEGIN.
    """
    found: list[Message] = []
    inside = False
    for raw in log:
        matched = _LINE.match(raw)
        line = matched[1] if matched else ""
        if begin in line:
            inside, found = True, []
        elif inside and line.startswith(f"--replace=/{suite} "):
            return found
        elif inside and (message := _message(line)) and message.path.startswith(f"/{suite}/"):
            found.append(message)
    return found if inside else None


def _message(line: str) -> Message | None:
    if m := _STATE.match(line):
        kinds: dict[str, Kind] = {"active": "active", "complete": "complete", "aborted": "aborted"}
        return Message(m[2], kinds.get(m[1], "queued"), value=m[3] or "")
    if m := _METER.match(line):
        return Message(m[3], "meter", m[1], m[2])
    if m := _EVENT.match(line):
        return Message(m[3], "event", m[1], m[2])
    if m := _LABEL.match(line):
        return Message(m[3], "label", m[1], m[2])
    return None


def unsaid(messages: Sequence[Message], read: Definition) -> list[Message]:
    """Messages that the state READ does not hold.

    The log begins a little before the reading, so a task's messages up to the state that was read are in it already.
    """
    tasks = {path: node.state for path, node in read.nodes.items() if node.kind == "task"}
    known = {m.path: n for n, m in enumerate(messages) if tasks.get(m.path) == m.kind}
    return [
        m
        for n, m in enumerate(messages)
        # a family that repeats queues its tasks by itself when they complete
        if m.path in tasks and m.kind != "queued" and not (m.kind in _STATES and n <= known.get(m.path, -1))
    ]


def say_again(server: Server, messages: Iterable[Message], read: Definition) -> None:
    """Repeat messages to the server, in their order."""
    for message in messages:
        _say(server, message, read)


def _say(server: Server, message: Message, read: Definition) -> None:
    facts = read.nodes[message.path].facts
    if message.kind == "active":
        # the job's number is not in the log; without one the server takes any
        server.force(message.path, "active")
    elif message.kind in ("complete", "aborted"):
        job = server.child(
            message.path, facts.get("passwd", ""), int(facts.get("try", "1")), facts.get("rid", "0")
        )
        if message.kind == "complete":
            server.tell(job.child_complete)
        else:
            server.tell(lambda: job.child_abort(message.value))
    elif message.kind == "event":
        server.alter(message.path, "event", message.name, "set" if message.value == "1" else "clear")
    else:
        server.alter(message.path, message.kind, message.name, message.value)
