"""The text of a definition that carries the state of what runs, for one replace on the server.

A plain replace forgets states, tries and job passwords: finished trials run again and running jobs become zombies.
"""

from __future__ import annotations

import re

from ml_suite.server.definition import Attribute, Definition, Node, extra_lines
from ml_suite.server.plan import Plan
from ml_suite.server.tokens import recount

_ORDER = ("aborted", "active", "submitted", "queued", "complete", "unknown")
"""ecFlow's: a family has the first of these that one of its children has."""
# a label's value with " # " in it is read back wrong by ecFlow 5.9
_HASH_IN_LABEL = re.compile(r'^( *label .*" # ")(.*#.*)(")$', re.MULTILINE)


def carry(wanted: Definition, running: Definition, plan: Plan) -> str:
    """Write WANTED with the state of RUNNING.

    Nodes that are new start as their ``defstatus`` says, else queued; families above them take the state that follows,
    because ecFlow submits nothing inside a family that is complete.
    """
    heads = _heads(wanted, running)
    bodies = {path: _lines(wanted.nodes[path], attributes) for path, attributes in plan.merged.items()}
    bodies |= {
        path: _lines(wanted.nodes[path], found) for path, found in recount(wanted, running, plan).items()
    }
    out = ["defs_state MIGRATE", *wanted.externs]
    open_families: list[int] = []
    for path, node in wanted.nodes.items():
        while open_families and open_families[-1] >= node.depth:
            out.append(f"{'  ' * open_families.pop()}endfamily")
        head = heads[path]
        out.append(f"{'  ' * node.depth}{node.kind} {node.name}{' # ' + head if head else ''}")
        there = running.nodes.get(path)
        if there is None or there.kind != node.kind:
            out.append(node.structure.rstrip("\n"))
        elif path in bodies:
            out += bodies[path] + extra_lines(there)
        else:
            out.append((there.stateful or node.structure).rstrip("\n"))
        if node.kind == "family":
            open_families.append(node.depth)
    out += [f"{'  ' * depth}endfamily" for depth in reversed(open_families)]
    text = "\n".join(line for line in [*out, "endsuite", ""] if line is not None)
    return _HASH_IN_LABEL.sub(lambda m: m[1] + m[2].replace("#", "") + m[3], text)


def _lines(node: Node, attributes: tuple[Attribute, ...]) -> list[str]:
    indent = "  " * (node.depth + 1)
    lines = []
    for attribute in attributes:
        first, *more = attribute.line.split("\n")
        runtime = f" # {attribute.runtime}" if attribute.runtime else ""
        lines += [f"{indent}{first}{runtime}", *(f"{indent}{line}" for line in more)]
    return lines


def _heads(wanted: Definition, running: Definition) -> dict[str, str]:
    """State words of every node."""
    begun = "begun:1" in running.suite.head
    heads: dict[str, str] = {}
    touched: set[str] = set()
    for path, node in wanted.nodes.items():
        there = running.nodes.get(path)
        if there is not None and there.kind == node.kind:
            heads[path] = there.head
        else:
            heads[path] = _fresh(wanted, node) if begun else ""
            touched.update(wanted.above(path))
    for path in running.nodes:
        if path not in wanted.nodes:
            touched.update(p for p in running.above(path) if p in wanted.nodes)
    for path in sorted(touched, key=lambda p: -p.count("/")):
        if begun and (states := [_state(heads[child]) for child in wanted.children.get(path, ())]):
            heads[path] = _with_state(heads[path], min(states, key=_ORDER.index))
    return heads


def _fresh(wanted: Definition, node: Node) -> str:
    own = _defstatus(node)
    if own == "suspended":
        return "state:queued suspended:1"
    if own is not None:
        return f"state:{own}"
    # a family that starts complete makes everything below it complete
    above = (_defstatus(wanted.nodes[path]) for path in wanted.above(node.path))
    return "state:complete" if "complete" in above else "state:queued"


def _defstatus(node: Node) -> str | None:
    found = re.search(r"^ *defstatus (\w+)", node.structure, re.MULTILINE)
    return found[1] if found else None


def _state(head: str) -> str:
    return Node("", "", 0, "", head).state


def _with_state(head: str, state: str) -> str:
    if _state(head) == "unknown":
        return f"{head} state:{state}".strip()
    return re.sub(r"\bstate:\w+", f"state:{state}", head)
