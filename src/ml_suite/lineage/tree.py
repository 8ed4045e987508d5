"""Draw a lineage in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ml_suite.lineage.graph import Edge, Fact, Graph, Kind, Node
from ml_suite.quantities import format_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from rich.tree import Tree

_SHOWN = {
    Kind.RECIPE: ("commit", "blob", "sha256"),
    Kind.CONFIG: ("commit", "sha256"),
    Kind.DEPLOYMENT: ("commit", "sha256"),
    Kind.DATASET: ("uuid", "manifest"),
    Kind.LOCATION: ("platform",),
    Kind.STUDY: ("cycle",),
    Kind.TRIAL: ("value", "step1_value", "metric"),
    Kind.RUN: ("run_id", "parent_run_id", "status"),
    Kind.WEIGHTS: ("sha256", "size"),
    Kind.OBJECT: (),
    Kind.EVALUATION: ("sha256", "s3"),
    Kind.TRAINING: ("ecflow_path", "host", "cycle"),
}
_ORDER = list(Kind)


def draw(graph: Graph) -> Iterable[RenderableType]:
    """One tree for each origin; a node with several origins hangs below the nearest, the others are named on it."""
    from rich.tree import Tree

    above = {node.id: _parent(graph, node) for node in graph.nodes}
    for root in graph.nodes:
        if above[root.id] is None:
            tree = Tree(_text(graph, root, None), guide_style="dim")
            _grow(graph, above, root, tree)
            yield tree


def _parent(graph: Graph, node: Node) -> Edge | None:
    """The edge from the nearest origin: the last in the chain."""
    incoming = [edge for edge in graph.edges if edge.target == node.id]
    return max(incoming, key=lambda e: _ORDER.index(graph.node(e.source).kind), default=None)


def _grow(graph: Graph, above: dict[str, Edge | None], node: Node, tree: Tree) -> None:
    for child in graph.nodes:
        edge = above[child.id]
        if edge is not None and edge.source == node.id:
            _grow(graph, above, child, tree.add(_text(graph, child, edge)))


def _text(graph: Graph, node: Node, edge: Edge | None) -> Text:
    from rich.text import Text

    text = Text(overflow="fold")
    text.append(f"{node.kind.value} ", style="cyan")
    text.append(node.label, style="bold" if node.present else "bold red")
    if not node.present:
        text.append(" is missing", style="red")
    for name in _SHOWN[node.kind]:
        if (value := node.facts.get(name)) is not None:
            text.append(f"\n  {name} ", style="dim")
            text.append(_shown(name, value))
    for origin in [e for e in graph.edges if e.target == node.id]:
        if origin.broken or origin is not edge:
            source = graph.node(origin.source)
            text.append(f"\n  from {source.kind.value} by {origin.by}", style="dim")
            if origin.broken:
                text.append(f": broken, {origin.broken}", style="red")
    return text


def _shown(name: str, value: Fact) -> str:
    if name == "size" and isinstance(value, int):
        return format_bytes(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
