"""What can be done to entries: each function is one transaction."""

from __future__ import annotations

from typing import Any

from ml_suite.catalogue import patches, records
from ml_suite.catalogue.entries import Caller
from ml_suite.catalogue.records import Collection, Record
from ml_suite.catalogue.refusal import Refusal
from ml_suite.catalogue.store import Store
from ml_suite.catalogue.transaction import Transaction

_CHANGE_BYTES = 2000


def create(store: Store, kind: Collection, body: Any, caller: Caller) -> Record:
    """Add an entry.

    Raises
    ------
    Refusal
        409 if the very same entry exists (the client takes that as success), 422 if another one is in the way.
    """
    original = records.dump(body)
    key, record = records.new(kind, body)
    with store.write(caller) as transaction:
        if (old := _existing(transaction, kind, key)) is not None:
            raise _exists(kind, key, old, record)
        _check_uuid(transaction, kind, key, record)
        transaction.insert(kind, key, record, original)
    return record


def replace(store: Store, kind: Collection, key: str, body: Any, caller: Caller) -> Record:
    """Write an entry, new or not; members that the server keeps survive.

    Raises
    ------
    Refusal
        422 if the record is wrong.
    """
    with store.write(caller) as transaction:
        old = _existing(transaction, kind, key)
        record = records.replacement(kind, key, body, old)
        _check_uuid(transaction, kind, key, record)
        if old is None:
            transaction.insert(kind, key, record, records.dump(record))
        else:
            transaction.update(kind, key, record, "replace", "")
    return record


def patch(store: Store, kind: Collection, key: str, operations: Any, caller: Caller) -> Record:
    """Apply an RFC 6902 patch to an entry.

    Raises
    ------
    Refusal
        404, 409 or 422; the record is unchanged.
    """
    with store.write(caller) as transaction:
        entry = transaction.get(kind, key)
        before = {name: entry.record.get(name) for name in ("created",)}
        record = records.patched(kind, key, before, patches.apply(entry.record, operations))
        _check_uuid(transaction, kind, key, record)
        change = records.dump(operations)
        if len(change) > _CHANGE_BYTES:
            change = records.dump([{"op": o.get("op"), "path": o.get("path")} for o in operations])
        transaction.update(kind, key, record, "patch", change[:_CHANGE_BYTES])
    return record


def remove(store: Store, kind: Collection, key: str, caller: Caller) -> None:
    """Remove an entry; the data it describes is not touched.

    Raises
    ------
    Refusal
        404 if there is none.
    """
    with store.write(caller) as transaction:
        transaction.delete(kind, transaction.get(kind, key))


def _existing(transaction: Transaction, kind: Collection, key: str) -> Record | None:
    try:
        return transaction.get(kind, key).record
    except Refusal:
        return None


def _exists(kind: Collection, key: str, old: Record, new: Record) -> Refusal:
    """409 only for the same thing: the client prints "already exists. Ok." and exits 0."""
    old_uuid, new_uuid = records.identity(kind, old), records.identity(kind, new)
    if kind.name == "datasets" and old_uuid != new_uuid:
        reason = f"the dataset {key} is registered with the uuid {old_uuid}, this one has {new_uuid}"
        return Refusal(422, reason + "; give it another name or version")
    return Refusal(409, f"{kind.name}/{key} already exists")


def _check_uuid(transaction: Transaction, kind: Collection, key: str, record: Record) -> None:
    """One dataset has one name: lineage finds datasets by uuid."""
    uuid = records.identity(kind, record)
    if kind.name != "datasets" or uuid is None:
        return
    holder = transaction.holder(kind, uuid)
    if holder not in (None, key):
        raise Refusal(422, f"the dataset with the uuid {uuid} is already registered as {holder}")
