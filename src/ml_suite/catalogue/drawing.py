"""Places of a lineage graph's boxes and lines on the page: columns from sources to evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.catalogue.lineage import Edge, Graph, Node

WIDTH, HEIGHT = 214, 86
_GAP_X, _GAP_Y, _MARGIN = 48, 18, 6
_TOP = 30
_MOST = 14
"""Boxes in one column; the rest are counted in the last one."""
_RANK = {
    "source": 0,
    "recipe": 1,
    "dataset": 2,
    "training": 3,
    "run": 4,
    "weights": 4,
    "experiment": 5,
    "evaluation": 5,
    "model": 5,
    "task": 5,
}
_HEADING = {"run": "MLflow run"}
_TITLE, _FACT = 23, 27
"""Characters in a line of a box."""


@dataclass(frozen=True)
class Box:
    """A node with its upper left corner, pixels."""

    node: Node
    x: int
    y: int
    start: bool

    @property
    def lines(self) -> list[str]:
        """Facts as far as they fit."""
        return [shortened(fact, _FACT) for fact in self.node.facts if fact][: 4 - len(self.titles)]

    @property
    def titles(self) -> list[str]:
        """Title in one or two lines, broken at a hyphen."""
        title = self.node.title
        if len(title) <= _TITLE:
            return [title]
        cut = title.rfind("-", 0, _TITLE) + 1 or _TITLE
        return [title[:cut], shortened(title[cut:], _TITLE)]


@dataclass(frozen=True)
class Line:
    """An edge as an SVG path."""

    edge: Edge
    path: str


@dataclass(frozen=True)
class Drawing:
    """Everything the page draws."""

    boxes: list[Box]
    lines: list[Line]
    hidden: list[Box]
    """One box per column that has more than fit; its title says how many."""
    headings: list[tuple[int, str]]
    width: int
    height: int


def draw(graph: Graph) -> Drawing:
    """Place the nodes in columns, each to the right of what it was made from."""
    columns: dict[int, list[Node]] = {}
    levels = _levels(graph)
    for node in graph.nodes:
        columns.setdefault(levels[node.id], []).append(node)
    boxes: dict[str, Box] = {}
    hidden, headings = [], []
    for place, level in enumerate(sorted(columns)):
        x = _MARGIN + place * (WIDTH + _GAP_X)
        nodes = _ordered(columns[level], graph, boxes)
        kinds = dict.fromkeys(_HEADING.get(node.kind, node.kind) for node in nodes)
        headings.append((x, ", ".join(kinds)))
        for row, node in enumerate(nodes[:_MOST]):
            boxes[node.id] = Box(node, x, _row(row), node.id == graph.start)
        if len(nodes) > _MOST:
            rest = Node(id="", kind=nodes[-1].kind, title=f"and {len(nodes) - _MOST} more", state="part")
            hidden.append(Box(rest, x, _row(_MOST), False))
    rows = max(min(len(nodes), _MOST + 1) for nodes in columns.values())
    return Drawing(
        list(boxes.values()),
        [
            Line(edge, _curve(boxes[edge.source], boxes[edge.target]))
            for edge in graph.edges
            if edge.source in boxes and edge.target in boxes
        ],
        hidden,
        headings,
        2 * _MARGIN + len(columns) * (WIDTH + _GAP_X) - _GAP_X,
        _row(rows),
    )


def _levels(graph: Graph) -> dict[str, int]:
    """Column of each node: that of its kind, or further right behind what it was made from."""
    levels = {node.id: _RANK[node.kind] for node in graph.nodes}
    for _ in graph.nodes:  # as often as a chain can be long; records may form circles
        moved = False
        for edge in graph.edges:
            if levels[edge.target] <= levels[edge.source] < len(_RANK) + len(graph.nodes):
                levels[edge.target], moved = levels[edge.source] + 1, True
        if not moved:
            break
    return levels


def _ordered(nodes: list[Node], graph: Graph, placed: dict[str, Box]) -> list[Node]:
    """Near the height of what they were made from, so that lines cross little; the start is never hidden."""

    def height(node: Node) -> float:
        above = [placed[e.source].y for e in graph.edges if e.target == node.id and e.source in placed]
        return sum(above) / len(above) if above else 0.0

    ordered = sorted(nodes, key=height)
    important = [n for n in ordered if n.id == graph.start or n.state == "absent"]
    if len(ordered) > _MOST:
        ordered = important + [n for n in ordered if n not in important]
    return ordered


def _row(row: int) -> int:
    return _TOP + _MARGIN + row * (HEIGHT + _GAP_Y)


def _curve(source: Box, target: Box) -> str:
    x1, y1 = source.x + WIDTH, source.y + HEIGHT // 2
    x2, y2 = target.x, target.y + HEIGHT // 2
    bend = max(30, (x2 - x1) // 2)
    return f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and its end, because names differ at both."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}"
