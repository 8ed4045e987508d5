"""What a lineage is built from: entries of the catalogue and runs of MLflow, as read; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ml_suite.lineage.training import TrainingMetadata

Entry = dict[str, Any]
"""An entry of the catalogue: an open JSON object."""


@dataclass(frozen=True)
class Run:
    """A run on the tracking server."""

    id: str
    name: str
    experiment: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def parent(self) -> str | None:
        """Run of the study."""
        return self.tags.get("mlflow.parentRunId")


@dataclass(frozen=True)
class Records:
    """Everything that was found for a start key; None stands for a reference that leads nowhere."""

    trainings: list[TrainingMetadata]
    datasets: dict[str, Entry | None]
    """By uuid."""
    weights: dict[str, Entry | None]
    """By uuid."""
    runs: dict[str, Run | None]
    """By MLflow's run id."""
    unreachable: str = ""
    """Why MLflow could not be asked."""


def mentions(tree: Any, value: str) -> bool:
    """Tell whether VALUE is a value anywhere in TREE: identities are found by value, not by place."""
    return any(found == value for found in strings(tree))


def strings(tree: Any) -> Iterator[str]:
    """Every string value at any depth."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from strings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from strings(value)


def locations(entry: Entry) -> dict[str, str]:
    """Address of an entry's data by platform."""
    known = entry.get("locations")
    if not isinstance(known, dict):
        return {}
    return {
        platform: where["path"]
        for platform, where in known.items()
        if isinstance(where, dict) and isinstance(where.get("path"), str)
    }
