"""What the store holds, as values."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from ml_suite.catalogue.records import Collection, Record
from ml_suite.catalogue.refusal import Refusal


@dataclass(frozen=True)
class Caller:
    """Who asked, as the client's headers say."""

    user: str = ""
    host: str = ""
    pid: str = ""
    version: str = ""


@dataclass(frozen=True)
class Entry:
    """A stored record."""

    collection: str
    key: str
    record: Record
    created: str
    updated: str


@dataclass(frozen=True)
class Change:
    """One line of the audit log."""

    time: str
    method: str
    collection: str
    key: str
    caller: Caller
    change: str


@dataclass(frozen=True)
class Finished:
    """A task that left the queue."""

    finished: str
    user: str
    host: str
    record: Record

    @property
    def outcome(self) -> str:
        """The client deletes a task that is done; one that was never running was removed."""
        return "done" if self.record.get("status") == "running" else "removed"

    def as_record(self) -> Record:
        """The task with how it ended."""
        ended = {"finished": self.finished, "finished_by": self.user, "outcome": self.outcome}
        return {**self.record, **ended}


def load(connection: sqlite3.Connection, kind: Collection, key: str) -> Entry:
    """Find an entry.

    Raises
    ------
    Refusal
        404 if there is none.
    """
    query = "select record, created, updated from entries where collection = ? and key = ?"
    found = connection.execute(query, (kind.name, key)).fetchone()
    if found is None:
        raise absent(kind, key)
    return Entry(kind.name, key, json.loads(found[0]), found[1], found[2])


def absent(kind: Collection, key: str) -> Refusal:
    """Say that there is no such entry."""
    return Refusal(404, f"there is no {kind.name}/{key}")
