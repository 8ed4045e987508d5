"""Limits in use, when a deploy changes which limits running tasks count against.

ecFlow gives back what the definition says when a task ends, not what it took when it started.
"""

from __future__ import annotations

from ml_suite.server.definition import Attribute, Definition, attributes
from ml_suite.server.plan import Plan


def recount(wanted: Definition, running: Definition, plan: Plan) -> dict[str, tuple[Attribute, ...]]:
    """Attributes of the nodes whose limits are used differently from now on.

    Nothing is counted while no ``inlimit`` changes, which is nearly always.
    """
    if not any(c.attribute.startswith("inlimit ") for c in plan.changes):
        return {}
    found: dict[str, tuple[Attribute, ...]] = {}
    for path in (p for p, node in running.nodes.items() if "  limit " in f"  {node.structure}"):
        if path not in wanted.nodes:
            continue
        before = plan.merged.get(path) or tuple(attributes(running.nodes[path]))
        after = tuple(_recounted(wanted, plan, path, a) if a.key[0] == "limit" else a for a in before)
        if after != before:
            found[path] = after
    return found


def _recounted(wanted: Definition, plan: Plan, holder: str, limit: Attribute) -> Attribute:
    if not limit.runtime:
        return limit
    _, *paths = limit.runtime.split()
    taken = {path: _weight(wanted, plan, path, holder, limit.key[1]) for path in paths}
    taken = {path: weight for path, weight in taken.items() if weight}
    return limit._replace(runtime=" ".join([str(sum(taken.values())), *taken]) if taken else "")


def _weight(wanted: Definition, plan: Plan, path: str, holder: str, limit: str) -> int:
    """Tokens that the node at PATH takes of a limit, through itself and the families above it."""
    total = 0
    for place in (path, *wanted.above(path)):
        if place not in wanted.nodes:
            continue
        for attribute in plan.merged.get(place) or attributes(wanted.nodes[place]):
            if attribute.key[0] == "inlimit" and _refers(attribute.key[1], holder, limit):
                total += int(attribute.value.split()[-1])
    return total


def _refers(reference: str, holder: str, limit: str) -> bool:
    path, _, name = reference.rpartition(":")
    return name == limit and path in ("", holder)
