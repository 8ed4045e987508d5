"""What jobs said between reading a suite and replacing it.

The replace puts back the state that was read, so a job that said ``complete`` in these milliseconds would stay active
for ever. The server's log has every message in order; the ones of the gap are said again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ml_suite.server.client import Server
from ml_suite.server.definition import Definition

_LINE = re.compile(r"^(?:LOG|MSG):\[[^\]]*\] ?(.*)$")
_STATE = re.compile(r"^ (active|complete|aborted): (/\S+)(?: try-no: \d+ reason: (.*))?")
_METER = re.compile(r"^chd:meter (\S+) (-?\d+) (/\S+)$")
_EVENT = re.compile(r"^chd:event (.+) ([01]) (/\S+)$")
_LABEL = re.compile(r"^chd:label (\S+) '(.*)' (/\S+)$")

Kind = Literal["active", "complete", "aborted", "meter", "event", "label"]


@dataclass(frozen=True)
class Message:
    """One thing that a job said and the server accepted."""

    path: str
    kind: Kind
    name: str = ""
    value: str = ""
    """Of a meter, label or event; the reason of an abort."""


def between(log: Iterable[str], begin: str, suite: str) -> list[Message]:
    """Messages of a suite's jobs after the line that holds BEGIN and before the next replace of the suite.

    States are taken from the server's own account, so a message that it refused (of a zombie) is not in it.
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
    return []


def _message(line: str) -> Message | None:
    if m := _STATE.match(line):
        kind: Kind = "active" if m[1] == "active" else "complete" if m[1] == "complete" else "aborted"
        return Message(m[2], kind, value=m[3] or "")
    if m := _METER.match(line):
        return Message(m[3], "meter", m[1], m[2])
    if m := _EVENT.match(line):
        return Message(m[3], "event", m[1], m[2])
    if m := _LABEL.match(line):
        return Message(m[3], "label", m[1], m[2])
    return None


def say_again(server: Server, messages: Iterable[Message], read: Definition) -> list[Message]:
    """Repeat messages that the state READ does not hold.

    Returns
    -------
    The messages that were repeated.
    """
    said: list[Message] = []
    states = {path: node.state for path, node in read.nodes.items() if node.kind == "task"}
    for message in messages:
        if message.path not in states or states[message.path] == message.kind:
            continue
        _say(server, message, read)
        if message.kind in ("active", "complete", "aborted"):
            states[message.path] = message.kind
        said.append(message)
    return said


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
