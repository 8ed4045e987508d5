"""A plan as lines that a person reads: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from ml_suite.server.files import FileChanges
from ml_suite.server.merge import Change
from ml_suite.server.plan import Plan

_WIDTH = 44
_LONGEST = 100
_MOST_FILES = 12


class Line(NamedTuple):
    """One row of a plan."""

    sign: str
    """``+`` added, ``~`` changed, ``-`` removed, ``=`` kept as an operator set it, ``!`` refused."""
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


def lines(plan: Plan, files: FileChanges) -> list[Line]:
    """Every change, one a line; whole families and runs of siblings are folded into one."""
    shown = [_line("~", c.path, _changed(c)) for c in plan.changes if c.sign == "~"]
    for sign in "+-":
        shown += _folded(sign, [c for c in plan.changes if c.sign == sign])
    shown += [_line("=", n.path, n.message) for n in plan.notes]
    shown += [_line("!", r.path, r.message) for r in plan.refusals]
    for sign, names in (("+", files.added), ("~", files.changed), ("-", files.removed)):
        if len(names) > _MOST_FILES:
            shown.append(_line(sign, f"{names[0]} ... {names[-1].rpartition('/')[2]}", f"{len(names)} files"))
        else:
            shown += [_line(sign, name, "file") for name in names]
    shown += [_line("=", name, "edited by hand since the last deploy; kept in git") for name in files.by_hand]
    return shown


def summary(plan: Plan, files: FileChanges) -> str:
    """Counts in half a line."""
    parts = [f"{plan.count('+')} added", f"{plan.count('~')} changed", f"{plan.count('-')} removed"]
    nodes = ", ".join(part for part in parts if not part.startswith("0 ")) or "no node changed"
    touched = files.written + len(files.removed)
    return f"{nodes}, {touched} {'file' if touched == 1 else 'files'}" if touched else nodes


def totals(plan: Plan, files: FileChanges) -> str:
    """Counts in a sentence or two."""
    if plan.empty and files.empty:
        return f"Nothing to change: {plan.kept} nodes and {files.unchanged} files are as wanted."
    nodes = f"{plan.count('+')} to add, {plan.count('~')} to change, {plan.count('-')} to remove."
    if not plan.begun and not plan.new:
        nodes += " The suite is loaded and waits to be started."
    kept = f" {plan.kept} nodes keep their state." if not plan.new else ""
    text = f"{files.written} files to write, {len(files.removed)} to remove, {files.unchanged} unchanged."
    return f"{nodes}{kept} {text}"


def _line(sign: str, path: str, text: str) -> Line:
    return Line(sign, f"{path:<{_WIDTH}} {text}".rstrip())


def _changed(change: Change) -> str:
    old, new = (_short(value) or "(none)" for value in (change.old, change.new))
    cost = f"   loses {change.cost}" if change.cost else ""
    return f"{change.attribute}: {old} -> {new}{cost}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2 - 2]} ... {text[2 - _LONGEST // 2 :]}"


def _folded(sign: str, changes: list[Change]) -> Iterator[Line]:
    """One line for a family with everything below it, and one for a run of siblings with the same cost."""
    whole = {c.path for c in changes if c.kind != "task"}
    tops = [c for c in changes if not any(parent in whole for parent in _above(c.path))]
    for (parent, kind, cost), group in groupby(tops, lambda c: (c.path.rpartition("/")[0], c.kind, c.cost)):
        same = list(group)
        if kind != "task":
            for c in same:
                yield _line(sign, c.path, _contents(c, changes))
        elif len(same) > 2:
            names = f"{parent}/{same[0].path.rpartition('/')[2]} ... {same[-1].path.rpartition('/')[2]}"
            yield _line(sign, names, f"{len(same)} tasks{_loss(cost)}")
        else:
            for c in same:
                yield _line(sign, c.path, f"task{_loss(cost)}")


def _contents(top: Change, changes: Iterable[Change]) -> str:
    tasks = [c for c in changes if c.kind == "task" and c.path.startswith(f"{top.path}/")]
    text = f"{top.kind}, {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}"
    lost = Counter(c.cost.split(",")[0] for c in tasks if c.cost)
    return text + _loss(", ".join(f"{n} {state}" for state, n in lost.items()))


def _loss(cost: str) -> str:
    return f"   loses {cost}" if cost else ""


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
