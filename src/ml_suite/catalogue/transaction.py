"""One writer's view of the database: everything that a write must touch together."""

from __future__ import annotations

import sqlite3

from ml_suite.catalogue import entries, records
from ml_suite.catalogue.entries import Caller, Entry
from ml_suite.catalogue.links import Link, links
from ml_suite.catalogue.records import Collection, Record


class Transaction:
    """One writer's view; see `Store.write`."""

    def __init__(self, connection: sqlite3.Connection, caller: Caller) -> None:
        self._connection = connection
        self._caller = caller

    def get(self, kind: Collection, key: str) -> Entry:
        """Find an entry, see `Store.get`."""
        return entries.load(self._connection, kind, key)

    def holder(self, kind: Collection, uuid: str) -> str | None:
        """Key of the entry that has this uuid."""
        query = "select key from entries where collection = ? and uuid = ?"
        found = self._connection.execute(query, (kind.name, uuid)).fetchone()
        return found[0] if found else None

    def insert(self, kind: Collection, key: str, record: Record, original: str) -> None:
        """Add an entry."""
        time = record.get("created") if kind.name == "tasks" else None
        self._save(kind, key, record, "insert", (original, time or records.now()))
        self._note("create", kind, key, "")

    def update(self, kind: Collection, key: str, record: Record, method: str, change: str) -> None:
        """Replace the record of an entry; its original stays."""
        self._save(kind, key, record, "update", ())
        self._note(method, kind, key, change)

    def delete(self, kind: Collection, entry: Entry) -> None:
        """Remove an entry; a task goes to the history, anything with a uuid leaves its name behind."""
        key, uuid = entry.key, records.identity(kind, entry.record)
        self._connection.execute(
            "delete from entries where collection = ? and key = ?", (kind.name, key)
        )  # fields and links go with it
        if kind.name == "tasks":
            self._connection.execute(
                "insert or replace into history (uuid, finished, user, host, record) values (?, ?, ?, ?, ?)",
                (key, records.now(), self._caller.user, self._caller.host, records.dump(entry.record)),
            )
        elif uuid:
            self._connection.execute(
                "insert or replace into tombstones (collection, uuid, key, removed, user) values (?, ?, ?, ?, ?)",
                (kind.name, uuid, key, records.now(), self._caller.user),
            )
        self._note("delete", kind, key, "")

    def _save(self, kind: Collection, key: str, record: Record, verb: str, extra: tuple[str, ...]) -> None:
        uuid, time = records.identity(kind, record), records.now()
        short, whole = records.dump(records.summary(kind, record)), records.dump(record)
        run = self._connection.execute
        if verb == "insert":
            run(
                "insert into entries (collection, key, uuid, updated, summary, record, original, created)"
                " values (?, ?, ?, ?, ?, ?, ?, ?)",
                (kind.name, key, uuid, time, short, whole, *extra),
            )
        else:
            run(
                "update entries set uuid = ?, updated = ?, summary = ?, record = ? where collection = ? and key = ?",
                (uuid, time, short, whole, kind.name, key),
            )
            run("delete from fields where collection = ? and key = ?", (kind.name, key))
            run("delete from links where owner = ? and key = ?", (kind.name, key))
        many = self._connection.executemany
        many(
            "insert into fields (collection, key, field, value) values (?, ?, ?, ?)",
            [(kind.name, key, name, value) for name, value in records.fields(record).items()],
        )
        many(
            "insert into links (owner, key, role, collection, by, value, label) values (?, ?, ?, ?, ?, ?, ?)",
            [(kind.name, key, *_columns(link)) for link in links(kind, key, record)],
        )

    def _note(self, method: str, kind: Collection, key: str, change: str) -> None:
        who = self._caller
        self._connection.execute(
            "insert into audit (time, method, collection, key, user, host, pid, version, change)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (records.now(), method, kind.name, key, who.user, who.host, who.pid, who.version, change),
        )


def _columns(link: Link) -> tuple[str, str, str, str, str]:
    return link.role, link.collection, link.by, link.value, link.label
