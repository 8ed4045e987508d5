"""Rules of the catalogue's records, per collection; nothing is stored here.

A record is an open JSON object: whatever the client sends is kept, only the members below have a meaning.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ml_suite.catalogue.refusal import Refusal
from ml_suite.config.naming import CONVENTION, EXAMPLE, parse

Record = dict[str, Any]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SUMMARY_BYTES = 300
_ALWAYS = ("locations", "status", "progress")


@dataclass(frozen=True)
class Collection:
    """One kind of record."""

    name: str
    key: str
    """Member that identifies a record."""
    containers: dict[str, type[list[Any]] | type[dict[str, Any]]] = field(default_factory=dict)
    """Members that must exist because the client patches into them without creating them."""


COLLECTIONS = {
    c.name: c
    for c in (
        Collection("datasets", "name", {"locations": dict}),
        Collection("trainings", "name"),
        Collection("weights", "uuid", {"locations": dict}),
        Collection("experiments", "expver", {"plots": list, "checkpoints": list, "runs": dict}),
        Collection("tasks", "uuid"),
        Collection("evaluations", "name"),
        Collection("models", "name"),
    )
}
_KEPT = ("locations", "plots", "checkpoints", "runs", "status", "owner")


def now() -> str:
    """Time as the client reads it: UTC without a zone, because it subtracts it from ``utcnow()``."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def collection(name: str) -> Collection:
    """Find a collection.

    Raises
    ------
    Refusal
        404 if there is none of this name.
    """
    if name not in COLLECTIONS:
        raise Refusal(404, f"there is no collection {name!r}; there are {', '.join(COLLECTIONS)}")
    return COLLECTIONS[name]


def new(kind: Collection, body: Any) -> tuple[str, Record]:
    """Key and record of an entry that a client wants to create.

    Raises
    ------
    Refusal
        422 with what is wrong.
    """
    if not isinstance(body, dict):
        raise Refusal(422, "a record is a JSON object")
    record = dict(body)
    if kind.name == "tasks":
        if not isinstance(record.get("action"), str) or not record["action"]:
            raise Refusal(422, "a task needs an action, for example transfer-dataset")
        record.setdefault("uuid", str(uuid.uuid4()))
        record.setdefault("status", "queued")
        record["created"] = record["updated"] = now()
    key = record.get(kind.key)
    if not isinstance(key, str) or not key:
        raise Refusal(422, f"a record of {kind.name} needs the member {kind.key!r}, a text")
    return key, complete(kind, key, record)


def replacement(kind: Collection, key: str, body: Any, old: Record | None) -> Record:
    """Record that a PUT leaves: the body, and what the server keeps although the body lacks it.

    Raises
    ------
    Refusal
        422 with what is wrong.
    """
    if not isinstance(body, dict):
        raise Refusal(422, "a record is a JSON object")
    kept = {member: old[member] for member in _KEPT if old and member in old}
    record = {**kept, **body, kind.key: key}
    if kind.name == "tasks":
        record.setdefault("status", "queued")
        record["updated"] = now()
        record["created"] = old["created"] if old else record["updated"]
    return complete(kind, key, record)


def patched(kind: Collection, key: str, old: Record, record: Any) -> Record:
    """Record after a patch, if it still is one.

    Raises
    ------
    Refusal
        422 with what is wrong.
    """
    if not isinstance(record, dict):
        raise Refusal(422, "the patch leaves no JSON object")
    if record.get(kind.key) != key:
        raise Refusal(422, f"the member {kind.key!r} identifies the entry and cannot be changed")
    if kind.name == "tasks":
        record["created"], record["updated"] = old["created"], now()
    return complete(kind, key, record)


def complete(kind: Collection, key: str, record: Record) -> Record:
    """Add the containers that the client expects and check what every record must hold.

    Raises
    ------
    Refusal
        422 with what is wrong.
    """
    if kind.name == "datasets":
        _check_name(key)
    if not _KEY.fullmatch(key):
        raise Refusal(
            422, f"the key {key[:80]!r} is too long or not made of letters, digits, '.', '_' and '-'"
        )
    if kind.name != "tasks" and not isinstance(record.setdefault("metadata", {}), dict):
        raise Refusal(422, "the member 'metadata' is a JSON object")
    for member, container in kind.containers.items():
        if not isinstance(record.setdefault(member, container()), container):
            shape = "object" if container is dict else "list"
            raise Refusal(422, f"the member {member!r} is a JSON {shape}")
    return record


def identity(kind: Collection, record: Record) -> str | None:
    """The uuid by which other records refer to this one."""
    found = record.get("metadata", {}).get("uuid") or record.get("uuid")
    if kind.key == "uuid":
        found = record["uuid"]
    return found if isinstance(found, str) else None


def summary(kind: Collection, record: Record) -> Record:
    """The record without its large members, for lists: 300 datasets of 97 KB must not become 29 MB."""

    def small(members: Record) -> Record:
        return {
            name: value
            for name, value in members.items()
            if name in (kind.key, *_ALWAYS) or len(dump(value)) <= _SUMMARY_BYTES
        }

    short = small({name: value for name, value in record.items() if name != "metadata"})
    if isinstance(metadata := record.get("metadata"), dict):
        short["metadata"] = small(metadata)
    return short


def fields(record: Record) -> dict[str, str | None]:
    """Values that a filter can be compared with, as text; None hides what a deeper level has.

    ``status`` means the record's own member, else the one in its metadata; ``metadata.status`` only the latter.
    """
    metadata = record.get("metadata")
    inner = metadata if isinstance(metadata, dict) else {}
    found = {name: text(value) for name, value in inner.items()}
    named = {f"metadata.{name}": value for name, value in found.items()}
    return {**named, **found, **{name: text(value) for name, value in record.items()}}


def matches(record: Record, path: str, wanted: str) -> bool:
    """Whether the value at a dotted path, from the record or from its metadata, is the wanted text."""
    for start in (record, record.get("metadata")):
        value: Any = start
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return text(value) == spelled(wanted)
    return False


def text(value: Any) -> str | None:
    """A scalar as a filter writes it; None for anything else."""
    if isinstance(value, str):
        return spelled(value)
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else None


def spelled(wanted: str) -> str:
    """Python's spelling of the JSON constants means the same."""
    return {"True": "true", "False": "false", "None": "null"}.get(wanted, wanted)


def dump(value: Any) -> str:
    """Strict, compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_name(name: str) -> None:
    try:
        parse(name)
    except ValueError as error:
        reason = f"the dataset name {name[:200]!r} does not follow the naming convention: {error}"
        raise Refusal(422, f"{reason}; it reads {CONVENTION}, for example {EXAMPLE}") from error
