"""The text of an ecFlow definition as nodes: what plan, merge and status work on, without the binding.

ecFlow prints a suite in two styles that differ only by comments: the structure alone, and the same with the state of
every node and attribute behind `` # `` ("migrate"). Both are split into blocks of one node each by one regular
expression, and attributes are only looked at where two blocks differ: 10,000 tasks take some tens of milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_MARK = re.compile(r"^( *)(suite|family|task|endfamily|endsuite)\b *(\S*)(.*)\n?", re.MULTILINE)
_EXTERN = re.compile(r"^ *extern .*$", re.MULTILINE)
_HEAD = re.compile(r"(abort)<:(.*)>abort|(\S+?):(\S*)")
_CUT = re.compile(r"^ *edit (\S+) '.*\s#.*'$", re.MULTILINE)

BUSY = frozenset({"active", "submitted"})
"""States of a task whose job may be running."""


class Node(NamedTuple):
    """One node without its children."""

    path: str
    kind: str
    """suite, family or task."""
    depth: int
    """0 for the suite."""
    structure: str
    """Attribute lines without state."""
    head: str = ""
    """State of the node itself, ``try:1 state:active``."""
    stateful: str | None = None
    """Attribute lines with state; None for a definition that never ran."""

    @property
    def parent(self) -> str:
        """Path of the node above; empty for the suite."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def state(self) -> str:
        """unknown, queued, submitted, active, complete or aborted."""
        found = re.search(r"\bstate:(\w+)", _without_reason(self.head))
        return found[1] if found else "unknown"

    @property
    def facts(self) -> dict[str, str]:
        """State words by name: state, try, rid, passwd, dur, flag, suspended, abort (the reason), begun."""
        return {m[1] or m[3]: m[2] if m[1] else m[4] for m in _HEAD.finditer(self.head)}

    @property
    def tries(self) -> int:
        """How often it was submitted since it was queued."""
        found = re.search(r"\btry:(\d+)", _without_reason(self.head))
        return int(found[1]) if found else 0

    @property
    def suspended(self) -> bool:
        """Nothing is submitted below it."""
        return "suspended:1" in _without_reason(self.head)


class Attribute(NamedTuple):
    """One line below a node; key and value identify and describe it, runtime is what changed since."""

    key: tuple[str, str]
    """Keyword and name: ``("limit", "gpu")``; the name is empty where a node has only one."""
    value: str
    line: str
    """Without state and indentation."""
    runtime: str = ""
    """State behind `` # ``."""


@dataclass(frozen=True)
class Definition:
    """One suite."""

    nodes: dict[str, Node]
    """By path, parents first, in the order of the text."""
    externs: tuple[str, ...] = ()
    """Lines that name nodes of other suites."""
    children: dict[str, list[str]] = field(default_factory=dict, repr=False)
    """Paths below each path, in order."""

    @property
    def suite(self) -> Node:
        """The node at the top."""
        return next(iter(self.nodes.values()))

    def below(self, path: str) -> Iterator[Node]:
        """PATH and everything under it, parents first."""
        yield self.nodes[path]
        for child in self.children.get(path, ()):
            yield from self.below(child)

    def above(self, path: str) -> Iterator[str]:
        """Paths of the nodes above PATH, innermost first, the suite last."""
        while path := path.rpartition("/")[0]:
            yield path


def parse(structure: str, migrate: str | None = None) -> Definition:
    """Read one suite.

    Parameters
    ----------
    structure
        Text of the suite in ecFlow's style DEFS.
    migrate
        Text of the same suite in style MIGRATE, when it is one from a server.

    Raises
    ------
    ValueError
        If there is no suite in it, or the two texts are not of the same suite.
    """
    nodes: dict[str, Node] = {}
    children: dict[str, list[str]] = {}
    states = _blocks(migrate) if migrate is not None else None
    for path, kind, depth, _, body in _blocks(structure):
        head, stateful = "", None
        if states is not None:
            same, _, _, head, stateful = next(states, ("", "", 0, "", ""))
            if same != path:
                raise ValueError(f"the state of {path} is missing")
        nodes[path] = Node(path, kind, depth, body, head, stateful)
        children.setdefault(path.rpartition("/")[0], []).append(path)
    if not nodes:
        raise ValueError("there is no suite in it")
    return Definition(nodes, tuple(line.strip() for line in _EXTERN.findall(structure)), children)


def attributes(node: Node) -> list[Attribute]:
    """Attributes of a node with their state; trigger parts are joined into one."""
    found: dict[tuple[str, str], Attribute] = {}
    stateful = node.stateful.splitlines() if node.stateful is not None else []
    for number, raw in enumerate(node.structure.splitlines()):
        line = raw.strip()
        if not line:
            continue
        runtime = ""
        if number < len(stateful) and stateful[number].startswith(raw):
            runtime = stateful[number][len(raw) :].strip().removeprefix("#").strip()
        attribute = _attribute(line, runtime)
        if earlier := found.get(attribute.key):
            attribute = Attribute(
                attribute.key,
                f"{earlier.value} {attribute.value}",
                f"{earlier.line}\n{line}",
                earlier.runtime or runtime,
            )
        found[attribute.key] = attribute
    return list(found.values())


def extra_lines(node: Node) -> list[str]:
    """Lines that only the style with state has: the calendar of a suite, and aliases that an operator made."""
    if node.stateful is None:
        return []
    lines = node.stateful.splitlines()
    calendar = [line for line in lines if line.strip().startswith("calendar ")]
    alias = next((n for n, line in enumerate(lines) if line.strip().startswith("alias ")), len(lines))
    return calendar + lines[alias:]


def cut_variables(definition: Definition) -> list[tuple[str, str]]:
    """Path and name of variables with `` #`` in them: ecFlow 5.9 cuts them there whenever it reads a suite."""
    return [
        (node.path, match[1])
        for node in definition.nodes.values()
        if " #" in node.structure
        for match in _CUT.finditer(node.structure)
    ]


def _without_reason(head: str) -> str:
    return re.sub(r"abort<:.*>abort", "", head) if "abort<:" in head else head


def _blocks(text: str) -> Iterator[tuple[str, str, int, str, str]]:
    """Path, kind, depth, state and attribute lines of every node."""
    stack: list[str] = [""]
    marks = list(_MARK.finditer(text))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        indent, kind, name, rest = mark.groups()
        if kind in ("endfamily", "endsuite"):
            continue
        depth = len(indent) // 2
        del stack[depth + 1 :]
        stack.append(f"{stack[depth]}/{name}")
        yield stack[-1], kind, depth, rest.strip().removeprefix("#").strip(), text[mark.end() : end]


_NAMED = frozenset({"edit", "limit", "label", "meter", "queue"})
_SINGLE = frozenset(
    {"trigger", "complete", "repeat", "late", "defstatus", "autocancel", "autoarchive", "clock"}
)


def _attribute(line: str, runtime: str) -> Attribute:
    keyword, _, rest = line.partition(" ")
    rest = rest.strip()
    if keyword in _NAMED:
        name, _, value = rest.partition(" ")
        return Attribute((keyword, name), value.strip().strip("'\""), line, runtime)
    if keyword in _SINGLE:
        return Attribute((keyword, ""), rest, line, runtime)
    if keyword == "event":
        return Attribute((keyword, rest.removesuffix(" set")), rest, line, runtime)
    if keyword == "inlimit":
        words = rest.split()
        flags = [w for w in words if w in ("-n", "-s")]
        reference, *weight = [w for w in words if w not in flags]
        return Attribute((keyword, reference), " ".join([*flags, *(weight or ["1"])]), line, runtime)
    return Attribute((keyword, rest), rest, line, runtime)
