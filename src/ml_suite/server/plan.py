"""What a deploy would change, and what that would cost: pure, on the texts of definitions."""

from __future__ import annotations

from dataclasses import dataclass, field

from ml_suite.server.definition import BUSY, Attribute, Definition, Node, cut_variables
from ml_suite.server.merge import Change, Note, Refusal, merge


@dataclass(frozen=True)
class Plan:
    """Difference between what runs and what is wanted."""

    suite: str
    new: bool
    """The suite is not on the server."""
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    kept: int = 0
    """Nodes that keep their state."""
    begun: bool = True
    """The suite was started; False after a deploy that died between loading and starting it."""
    merged: dict[str, tuple[Attribute, ...]] = field(default_factory=dict, repr=False, compare=False)
    """Attributes of the nodes whose lines are not the same on both sides."""

    @property
    def empty(self) -> bool:
        """Nothing would change on the server."""
        return not self.changes and self.begun

    def count(self, sign: str) -> int:
        """Nodes added (+), changed (~) or removed (-)."""
        return len({c.path for c in self.changes if c.sign == sign})


def plan(
    wanted: Definition, running: Definition | None, base: Definition | None = None, overrule: bool = False
) -> Plan:
    """Compare.

    Parameters
    ----------
    running
        The suite on the server; None when there is none.
    base
        The suite as deployed last, to tell an operator's changes from the deployment's.
    overrule
        The deployment wins over what an operator changed.
    """
    refusals = [_cut(path, name) for path, name in cut_variables(wanted)]
    if running is None:
        added = tuple(Change("+", n.path, n.kind) for n in wanted.nodes.values())
        return Plan(wanted.suite.name, True, added, refusals=tuple(refusals), begun=False)
    changes: list[Change] = []
    notes: list[Note] = []
    merged: dict[str, tuple[Attribute, ...]] = {}
    kept = 0
    for path, node in wanted.nodes.items():
        there = running.nodes.get(path)
        if there is None or there.kind != node.kind:
            changes.append(Change("+", path, node.kind))
            continue
        kept += 1
        before = base.nodes.get(path) if base else None
        if there.structure == node.structure:
            continue
        one = merge(there, node, before, overrule)
        merged[path] = one.attributes
        changes += one.changes
        notes += one.notes
        refusals += one.refusals
    for path, node in running.nodes.items():
        if path not in wanted.nodes or wanted.nodes[path].kind != node.kind:
            changes.append(Change("-", path, node.kind, cost=_cost(node)))
            refusals += _busy(node)
    begun = "begun:1" in running.suite.head
    return Plan(wanted.suite.name, False, tuple(changes), tuple(notes), tuple(refusals), kept, begun, merged)


def _cut(path: str, name: str) -> Refusal:
    return Refusal(
        path, f"has ' #' in variable {name}, where ecFlow cuts it", "Write it without a space before #."
    )


def _cost(node: Node) -> str:
    if node.kind != "task" or node.state in ("unknown", "queued"):
        return ""
    tries = node.tries
    return f"{node.state}, {tries} {'try' if tries == 1 else 'tries'}" if tries else node.state


def _busy(node: Node) -> list[Refusal]:
    if node.kind != "task" or node.state not in BUSY:
        return []
    hint = f"Wait until it ends, or kill it first: ecflow_client --kill={node.path}"
    return [Refusal(node.path, f"is {node.state} and not in the deployment any more", hint)]
