"""Collect the entries up and down the links of one entry."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from ml_suite.catalogue.links import Link
from ml_suite.catalogue.records import Collection, Record
from ml_suite.catalogue.store import Store

_MOST = 300
_WHOLE = ("datasets", "trainings", "evaluations")
"""Collections of which the large members are drawn."""

Wanted = tuple[str, str, str]
"""Collection, kind of identity and its value."""


@dataclass(frozen=True)
class Known:
    """One entry with its links."""

    collection: str
    key: str
    record: Record
    links: tuple[Link, ...]

    @property
    def id(self) -> str:
        """Path of the entry."""
        return f"{self.collection}/{self.key}"


@dataclass
class Neighbourhood:
    """Entries upstream and downstream of one."""

    start: str
    entries: list[Known]
    missing: dict[Wanted, str] = field(default_factory=dict)
    """References that no entry answers to, and what is known of them."""
    truncated: bool = False


def neighbourhood(store: Store, kind: Collection, key: str) -> Neighbourhood:
    """Everything that the entry was made from and everything made from it, at most 300 entries.

    Raises
    ------
    Refusal
        404 if there is no such entry.
    """
    store.get(kind, key)
    found = Neighbourhood(f"{kind.name}/{key}", [])
    known: dict[str, Known] = {}
    for direction in ("input", "output"):
        queue, seen = [(kind.name, key)], set[tuple[str, str]]()
        while queue:
            owner = queue.pop(0)
            if owner in seen:
                continue
            if len(known) >= _MOST:
                found.truncated = True
                break
            seen.add(owner)
            entry = known.setdefault("/".join(owner), _known(store, *owner))
            queue += _next(store, entry, direction, found.missing)
    found.entries = list(known.values())
    return found


def _known(store: Store, collection: str, key: str) -> Known:
    column = "record" if collection in _WHOLE else "summary"
    query = f"select {column} from entries where collection = ? and key = ?"
    links = store.rows(
        "select role, collection, by, value, label from links where owner = ? and key = ?", (collection, key)
    )
    record = json.loads(store.rows(query, (collection, key))[0][0])
    return Known(collection, key, record, tuple(Link(*row) for row in links))  # type: ignore[arg-type]


def _next(
    store: Store, entry: Known, direction: Literal["input", "output"], missing: dict[Wanted, str]
) -> list[tuple[str, str]]:
    """Entries that this one names in the direction, and those that name it in the other one."""
    found: list[tuple[str, str]] = []
    other = "output" if direction == "input" else "input"
    for link in entry.links:
        wanted = (link.collection, link.by, link.value)
        if link.role == "self":
            found += _owners(store, wanted, other)
            continue
        owners = _owners(store, wanted, "self")
        if link.role == direction:
            found += owners
        if not owners and link.by != "run":  # a run without an entry is normal
            missing[wanted] = _tombstone(store, link.collection, link.value)
    return found


def _owners(store: Store, wanted: Wanted, role: str) -> list[tuple[str, str]]:
    collection, by, value = wanted
    query = "select owner, key from links where value = ? and collection = ? and by = ? and role = ? order by rowid"
    return [(owner, key) for owner, key in store.rows(query, (value, collection, by, role))]


def _tombstone(store: Store, collection: str, uuid: str) -> str:
    query = "select key, removed, user from tombstones where collection = ? and uuid = ?"
    for key, removed, user in store.rows(query, (collection, uuid)):
        return f"was {key}, unregistered {removed[:19]} by {user or 'somebody'}"
    return ""
