"""What a record says about others: its own identities, what it was made from and what it made.

Pure: records in, links out. `ml_suite.catalogue.lineage` joins the links of many records to a graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from ml_suite.catalogue.records import Collection, Record, identity

By = Literal["uuid", "run", "name"]
Role = Literal["self", "input", "output"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Link:
    """One identity of a record, or one reference to another."""

    role: Role
    collection: str
    """Collection of the record that the value identifies."""
    by: By
    value: str
    label: str = ""
    """What the record calls the other one."""


def links(kind: Collection, key: str, record: Record) -> list[Link]:
    """All identities and references of a record, each once."""
    metadata = record.get("metadata")
    found = [Link("self", kind.name, "name", key)]
    if uuid := identity(kind, record):
        found.append(Link("self", kind.name, "uuid", uuid))
    if isinstance(metadata, dict):
        found += _REFERENCES.get(kind.name, _none)(record, metadata)
    return list(dict.fromkeys(found))


def _none(record: Record, metadata: Record) -> Iterator[Link]:
    yield from ()


def _of_dataset(record: Record, metadata: Record) -> Iterator[Link]:
    recipe = metadata.get("recipe")
    for value in _values(recipe.get("input") if isinstance(recipe, dict) else None, "anemoi-dataset"):
        name = (
            value.get("dataset") or value.get("name") or value.get("path")
            if isinstance(value, dict)
            else value
        )
        if isinstance(name, str):
            yield Link("input", "datasets", "name", basename(name), basename(name))


def _of_training(record: Record, metadata: Record) -> Iterator[Link]:
    for run in _runs(metadata):
        yield Link("self", "trainings", "run", run)
    yield from _named("input", "datasets", metadata.get("datasets"))
    yield from _named("output", "weights", metadata.get("weights"))
    yield from _named("input", "trainings", metadata.get("parent"))


def _of_weights(record: Record, metadata: Record) -> Iterator[Link]:
    uuids = {
        attributes["uuid"]
        for attributes in _values(metadata.get("dataset"), "attrs")
        if isinstance(attributes, dict) and isinstance(attributes.get("uuid"), str)
    }
    for uuid in sorted(uuids):
        yield Link("input", "datasets", "uuid", uuid)
    if not uuids:  # an old checkpoint knows only the path
        for arguments in _values(metadata.get("dataset"), "args"):
            for path in arguments if isinstance(arguments, list) else ():
                if isinstance(path, str) and path.endswith(".zarr"):
                    yield Link("input", "datasets", "name", basename(path), basename(path))
    for run in _runs(metadata):
        yield Link("input", "trainings", "run", run)


def _of_experiment(record: Record, metadata: Record) -> Iterator[Link]:
    yield from _named("input", "weights", record.get("checkpoints"))
    config = metadata.get("config")
    if isinstance(config, dict):
        yield from _named("input", "trainings", config.get("training"))


def _of_evaluation(record: Record, metadata: Record) -> Iterator[Link]:
    for collection in ("weights", "trainings", "experiments", "datasets"):
        yield from _named("input", collection, metadata.get(collection))
    yield from _named("input", "trainings", metadata.get("training"))


_REFERENCES = {
    "datasets": _of_dataset,
    "trainings": _of_training,
    "weights": _of_weights,
    "experiments": _of_experiment,
    "evaluations": _of_evaluation,
}


def _named(role: Role, collection: str, value: Any) -> Iterator[Link]:
    """References written as a name, a uuid, an object with both, or a list or an object of these."""
    if isinstance(value, str):
        yield Link(role, collection, "uuid" if _UUID.fullmatch(value) else "name", value, value)
    elif isinstance(value, list):
        for item in value:
            yield from _named(role, collection, item)
    elif isinstance(value, dict):
        label = value.get("name")
        if isinstance(uuid := value.get("uuid"), str):
            yield Link(role, collection, "uuid", uuid, label if isinstance(label, str) else uuid)
        elif isinstance(label, str):
            yield Link(role, collection, "name", label, label)


def _runs(metadata: Record) -> set[str]:
    """MLflow runs that a record names as its own."""
    mlflow = metadata.get("mlflow")
    found = {metadata.get("run_id"), mlflow.get("run_id") if isinstance(mlflow, dict) else None}
    return {run for run in found if isinstance(run, str) and run}


def _values(tree: Any, name: str) -> Iterator[Any]:
    """Every value of a member NAME (``-`` and ``_`` are the same), at any depth."""
    if isinstance(tree, dict):
        for member, value in tree.items():
            if member.replace("_", "-") == name:
                yield value
            yield from _values(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values(value, name)


def basename(path: str) -> str:
    """Name of the dataset that a path leads to."""
    return PurePosixPath(path).name.removesuffix(".zarr")
