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
from pathlib import Path

from ml_suite.catalogue import entries, records
from ml_suite.catalogue.entries import Caller, Change, Entry, Finished
from ml_suite.catalogue.records import Collection
from ml_suite.catalogue.transaction import Transaction

_SCHEMA = Path(__file__).with_name("schema.sql")
_WAIT = 20.0
_VERSION = 1


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
        return entries.load(self._connection(), kind, key)

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
        raise entries.absent(kind, key)

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
