"""The catalogue's records in SQLite: what was acknowledged survives kill -9 and a power cut.

WAL with ``synchronous=FULL``: a commit returns after the log is on disk (one fsync, below a millisecond on a local
disk), readers never wait for the writer, and a half-written transaction is rolled back at the next opening. Writers
take turns: a lock in this process, ``BEGIN IMMEDIATE`` between processes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml_suite.catalogue import records
from ml_suite.catalogue.links import Link, links
from ml_suite.catalogue.records import Collection, Record
from ml_suite.catalogue.refusal import Refusal

_SCHEMA = Path(__file__).with_name("schema.sql")
_WAIT = 20.0
_VERSION = 1


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


class Store:
    """All entries, their links, the audit log and the history of tasks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        connection = self._connection()
        version = connection.execute("pragma user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"the database has format {version}, this program writes {_VERSION}")
        connection.executescript(_SCHEMA.read_text())
        connection.execute(f"pragma user_version = {_VERSION}")

    def close(self) -> None:
        """Fold the log into the database and close every connection."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def _connection(self) -> sqlite3.Connection:
        """One connection per thread, because a connection has only one transaction."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(
                self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute("pragma foreign_keys = on")
            self._local.connection = connection
            self._open.append(connection)
        found: sqlite3.Connection = self._local.connection
        return found

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[str, ...]]:
        """Answer a read."""
        return self._connection().execute(query, values).fetchall()

    @contextmanager
    def write(self, caller: Caller) -> Iterator[Transaction]:
        """All writes of the block, or none."""
        connection = self._connection()
        with self._lock:
            connection.execute("begin immediate")
            try:
                yield Transaction(connection, caller)
                connection.execute("commit")
            except BaseException:
                # SQLite has already rolled back by itself after a full disk
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    def get(self, kind: Collection, key: str) -> Entry:
        """Find an entry.

        Raises
        ------
        Refusal
            404 if there is none.
        """
        return _entry(self._connection(), kind, key)

    def text(self, kind: Collection, key: str) -> str:
        """Record of an entry as JSON text, without parsing it.

        Raises
        ------
        Refusal
            404 if there is none.
        """
        query = "select record from entries where collection = ? and key = ?"
        for (found,) in self.rows(query, (kind.name, key)):
            return found
        raise _absent(kind, key)

    def original(self, kind: Collection, key: str) -> str:
        """Record as first registered, JSON text."""
        query = "select original from entries where collection = ? and key = ?"
        return self.rows(query, (kind.name, key))[0][0]

    def find(self, kind: Collection, filters: Sequence[tuple[str, str]], whole: bool = False) -> list[str]:
        """Summaries (or whole records) of the entries that match all filters, oldest first, as JSON texts.

        A filter on a member that a record lacks does not match it.
        """
        query = f"select key, {'record' if whole else 'summary'} from entries where collection = ?"
        values: list[object] = [kind.name]
        deep = []
        for path, wanted in filters:
            if "." in path.removeprefix("metadata."):
                deep.append((path, wanted))
                continue
            query += " and key in (select key from fields where collection = ? and field = ? and value = ?)"
            values += [kind.name, path, records.spelled(wanted)]
        found = self.rows(query + " order by rowid", values)
        if not deep:
            return [text for _, text in found]
        return [
            text
            for key, text in found
            if all(records.matches(json.loads(self.text(kind, key)), *one) for one in deep)
        ]

    def counts(self) -> dict[str, int]:
        """Entries per collection."""
        found = dict.fromkeys(records.COLLECTIONS, 0)
        for collection, number in self.rows("select collection, count(*) from entries group by collection"):
            found[collection] = int(number)
        return found

    def search(self, kind: Collection, words: str, most: int = 500) -> list[Entry]:
        """Summaries of the entries in which every word occurs, latest change first."""
        query, values = "select key, summary, created, updated from entries where collection = ?", [kind.name]
        for word in words.split():
            query += " and instr(lower(summary), ?)"
            values.append(word.lower())
        found = self.rows(query + f" order by updated desc, rowid desc limit {most:d}", values)
        return [
            Entry(kind.name, key, json.loads(text), created, updated) for key, text, created, updated in found
        ]

    def audit(self, entry: tuple[str, str] | None = None, most: int = 100) -> list[Change]:
        """Latest changes, of one entry or of all."""
        query = "select time, method, collection, key, user, host, pid, version, change from audit"
        if entry:
            query += " where collection = ? and key = ?"
        found = self.rows(f"{query} order by id desc limit {most:d}", entry or ())
        return [Change(row[0], row[1], row[2], row[3], Caller(*row[4:8]), row[8]) for row in found]

    def history(self, most: int = 200) -> list[Finished]:
        """Tasks that left the queue, latest first."""
        query = f"select finished, user, host, record from history order by finished desc limit {most:d}"
        return [Finished(row[0], row[1], row[2], json.loads(row[3])) for row in self.rows(query)]


class Transaction:
    """One writer's view; see `Store.write`."""

    def __init__(self, connection: sqlite3.Connection, caller: Caller) -> None:
        self._connection = connection
        self._caller = caller

    def get(self, kind: Collection, key: str) -> Entry:
        """Find an entry, see `Store.get`."""
        return _entry(self._connection, kind, key)

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


def _entry(connection: sqlite3.Connection, kind: Collection, key: str) -> Entry:
    query = "select record, created, updated from entries where collection = ? and key = ?"
    found = connection.execute(query, (kind.name, key)).fetchone()
    if found is None:
        raise _absent(kind, key)
    return Entry(kind.name, key, json.loads(found[0]), found[1], found[2])


def _absent(kind: Collection, key: str) -> Refusal:
    return Refusal(404, f"there is no {kind.name}/{key}")
