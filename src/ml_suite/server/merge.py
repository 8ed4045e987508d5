"""Attributes of one node that is on the server and in the deployment: who wins, and what is kept.

Three definitions are compared: what runs, what the deployment wants, and what was deployed last. What runs and differs
from what was deployed was changed by an operator:

- limits: the operator's value stays;
- variables: the operator's value stays until the deployment itself changes the variable, then the deployment wins;
- what an operator added stays;
- everything else: the deployment wins.

Values reached at run time (meters, events, labels, repeats, queues, limits in use) are carried over throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml_suite.server import repeats
from ml_suite.server.definition import Attribute, Node, attributes

Sign = Literal["+", "~", "-"]


@dataclass(frozen=True)
class Change:
    """One difference between what runs and what is wanted."""

    sign: Sign
    """Added, changed or removed."""
    path: str
    kind: str
    """suite, family or task."""
    attribute: str = ""
    """``trigger``, ``limit gpu``, the name of a variable; empty for a whole node."""
    old: str = ""
    new: str = ""
    cost: str = ""
    """State that is lost: ``complete, 2 tries``."""


@dataclass(frozen=True)
class Note:
    """Something that an operator did and what becomes of it."""

    path: str
    message: str


@dataclass(frozen=True)
class Refusal:
    """Why the change cannot be applied now."""

    path: str
    message: str
    hint: str


@dataclass(frozen=True)
class Merged:
    """The node as it will be."""

    attributes: tuple[Attribute, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def label_of(key: tuple[str, str]) -> str:
    """Name of an attribute for a person."""
    keyword, name = key
    return name if keyword == "edit" else f"{keyword} {name}".strip()


def merge(running: Node, wanted: Node, base: Node | None, overrule: bool = False) -> Merged:
    """Merge one node.

    Parameters
    ----------
    base
        The node as deployed last; None when that is not known.
    overrule
        The deployment wins everywhere.
    """
    return _Merge(running, wanted, base, overrule).result()


class _Merge:
    def __init__(self, running: Node, wanted: Node, base: Node | None, overrule: bool) -> None:
        self.path, self.kind = running.path, running.kind
        self.running = {a.key: a for a in attributes(running)}
        self.wanted = {a.key: a for a in attributes(wanted)}
        self.base = {a.key: a for a in attributes(base)} if base is not None else None
        self.overrule = overrule
        self.changes: list[Change] = []
        self.notes: list[Note] = []
        self.refusals: list[Refusal] = []

    def result(self) -> Merged:
        kept = [self._wanted(key, a) for key, a in self.wanted.items()]
        gone = [a for key, a in self.running.items() if key not in self.wanted and self._added_by_hand(a)]
        return Merged(tuple(kept + gone), tuple(self.changes), tuple(self.notes), tuple(self.refusals))

    def _change(self, key: tuple[str, str], old: str, new: str, cost: str = "") -> None:
        self.changes.append(Change("~", self.path, self.kind, label_of(key), old, new, cost))

    def _note(self, message: str) -> None:
        self.notes.append(Note(self.path, message))

    def _deployed(self, key: tuple[str, str]) -> str | None:
        """Value as deployed last; None when it was not, or nobody knows."""
        found = (self.base or {}).get(key)
        return found.value if found is not None else None

    def _wanted(self, key: tuple[str, str], wanted: Attribute) -> Attribute:
        running = self.running.get(key)
        if running is None:
            self._change(key, "", wanted.value)
            return wanted
        if running.value == wanted.value:
            return wanted._replace(runtime=running.runtime)
        if self._operator_wins(key, running, wanted):
            return running
        carried, cost = self._carry(key, running, wanted)
        self._change(key, running.value, wanted.value, cost)
        return wanted._replace(runtime=carried)

    def _operator_wins(self, key: tuple[str, str], running: Attribute, wanted: Attribute) -> bool:
        deployed, name = self._deployed(key), label_of(key)
        if self.overrule or deployed == running.value:
            return False
        if key[0] == "limit":
            who = "set by operator" if deployed is not None else "as on the server"
            self._note(f"{name}: keeps {running.value}, {who} (file says {wanted.value})")
            return True
        if key[0] != "edit" or deployed is None:
            return False
        if deployed == wanted.value:
            self._note(f"{name}: keeps {running.value!r}, set by operator (file says {wanted.value!r})")
            return True
        self._note(f"{name}: operator had set {running.value!r}; the deployment changes it")
        return False

    def _carry(self, key: tuple[str, str], running: Attribute, wanted: Attribute) -> tuple[str, str]:
        """State under the new attribute, and what of it is lost."""
        runtime = running.runtime
        if key[0] in ("label", "event", "inlimit", "limit"):
            return runtime, ""
        if key[0] == "meter" and runtime:
            low, high, *_ = map(int, wanted.value.split())
            return (runtime, "") if low <= int(runtime) <= high else ("", f"value {runtime}")
        if key[0] == "queue":
            return _queue(running, wanted), ""
        if key[0] == "repeat":
            return self._repeat(running, wanted), ""
        return "", ""

    def _repeat(self, running: Attribute, wanted: Attribute) -> str:
        carried = repeats.carry(running.value, wanted.value, running.runtime)
        if carried is None:
            at = repeats.current(running.value, running.runtime)
            self.refusals.append(
                Refusal(
                    self.path,
                    f"the repeat is at {at}, which 'repeat {wanted.value}' does not hold",
                    "Keep the current value in the range, or move the repeat first: "
                    f"ecflow_client --alter change repeat VALUE {self.path}",
                )
            )
        return carried or ""

    def _added_by_hand(self, running: Attribute) -> bool:
        """Whether an attribute that is not wanted stays."""
        known = self.base is not None and running.key not in self.base
        if known and not self.overrule:
            self._note(f"{label_of(running.key)}: added by operator, stays ({running.value})")
            return True
        self._change(running.key, running.value, "")
        return False


def _queue(running: Attribute, wanted: Attribute) -> str:
    """Carry the state of each item of a queue by its name; new items are queued."""
    if not running.runtime:
        return ""
    states = dict(zip(running.value.split(), running.runtime.split()[1:], strict=False))
    items = [states.get(item, "queued") for item in wanted.value.split()]
    # ecFlow hands out the item at the position, so it is the first that nobody took
    position = next((n for n, state in enumerate(items) if state == "queued"), len(items))
    return " ".join([str(position), *items])
