"""Nodes and edges of a lineage; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | float | bool | None


class Kind(StrEnum):
    """What a node is, in the order of the chain."""

    RECIPE = "recipe"
    CONFIG = "config"
    DEPLOYMENT = "deployment"
    DATASET = "dataset"
    LOCATION = "location"
    STUDY = "study"
    TRIAL = "trial"
    RUN = "run"
    WEIGHTS = "weights"
    OBJECT = "object"
    EVALUATION = "evaluation"
    TRAINING = "training"


@dataclass(frozen=True)
class Node:
    """A thing with an identity of its own."""

    id: str
    """Kind and uuid, checksum or address."""
    kind: Kind
    label: str
    """For people; nothing is found by it."""
    present: bool = True
    """False when another record refers to it and nobody knows it."""
    facts: dict[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """Something made from something else."""

    source: str
    target: str
    by: str
    """What proves it: the name of the uuid or checksum that both sides carry."""
    value: str
    """That uuid or checksum."""
    broken: str = ""
    """Why it is not proved; empty when it is."""


@dataclass(frozen=True)
class Graph:
    """A lineage: nodes in the order of the chain."""

    nodes: list[Node]
    edges: list[Edge]

    @property
    def broken(self) -> list[Edge]:
        """Edges that nothing proves."""
        return [edge for edge in self.edges if edge.broken]

    def node(self, identity: str) -> Node:
        """Find a node."""
        return next(node for node in self.nodes if node.id == identity)

    def out_of(self, identity: str) -> list[Edge]:
        """Edges to what was made from a node."""
        return [edge for edge in self.edges if edge.source == identity]

    def roots(self) -> list[Node]:
        """Nodes that are made from nothing here."""
        made = {edge.target for edge in self.edges}
        return [node for node in self.nodes if node.id not in made]

    def downstream(self, identity: str) -> list[Node]:
        """Everything made from a node, directly or not: what loses its origin when the node is deleted."""
        reached: dict[str, None] = {}
        pending = [identity]
        while pending:
            for edge in self.out_of(pending.pop()):
                if edge.target not in reached:
                    reached[edge.target] = None
                    pending.append(edge.target)
        return [node for node in self.nodes if node.id in reached]

    def upstream(self, identity: str) -> list[Node]:
        """Everything that a node was made from."""
        reversed_edges = [Edge(e.target, e.source, e.by, e.value, e.broken) for e in self.edges]
        return Graph(self.nodes, reversed_edges).downstream(identity)

    def as_json(self) -> dict[str, list[dict[str, Fact]]]:
        """Plain objects with stable names."""
        return {"nodes": [*_nodes(self.nodes)], "edges": [*_edges(self.edges)]}


def _nodes(nodes: list[Node]) -> Iterator[dict[str, Fact]]:
    for node in nodes:
        yield {
            **node.facts,
            "id": node.id,
            "kind": node.kind.value,
            "label": node.label,
            "present": node.present,
        }


def _edges(edges: list[Edge]) -> Iterator[dict[str, Fact]]:
    for edge in edges:
        yield {
            "from": edge.source,
            "to": edge.target,
            "by": edge.by,
            "value": edge.value,
            "broken": edge.broken or None,
        }
