"""What a figure is made of, before anything draws it: panels, axes and layers.

The page (`ml_suite.report.interactive`) and the images (`ml_suite.report.images`) draw the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal[
    "step1", "step2", "winner", "control", "pruned", "pilot", "incumbent", "reference", "front", "quiet"
]
"""What a layer stands for; decides its colour, the same in all figures."""
Marker = Literal["circle", "open", "diamond", "star", "square"]


@dataclass(frozen=True)
class Axis:
    """One axis of a panel."""

    title: str
    """With the unit in brackets."""
    log: bool = False
    range: tuple[float, float] | None = None
    """In data units; None: as wide as the data."""
    ticks: tuple[tuple[float, str], ...] = ()
    """Positions and labels where the values are categories; empty: chosen by `ml_suite.report.scales`."""
    percent: bool = False
    """Values are shares, shown in per cent."""


@dataclass(frozen=True)
class Points:
    """Marks at (x, y), the most important first."""

    name: str
    role: Role
    x: Sequence[float]
    y: Sequence[float]
    rows: Sequence[int] = ()
    """Positions in the report's rows, for what is told about a point; empty: no training belongs to it."""
    notes: Sequence[str] = ()
    """What else is told about each point."""
    spread: Sequence[tuple[float, float]] = ()
    """Lowest and highest value of each point, where it is a mean."""
    marker: Marker = "circle"
    size: float = 6
    """Diameter in points."""


@dataclass(frozen=True)
class Line:
    """A line through (x, y)."""

    name: str
    role: Role
    x: Sequence[float]
    y: Sequence[float | None]
    dash: Literal["solid", "dash", "dot"] = "solid"
    width: float = 1.5
    markers: bool = False
    steps: bool = False
    """Between points it keeps the value of the left one."""
    note: str = ""


def equal_line(x: Axis, y: Axis) -> Line | None:
    """Line of equal values, as far as both axes show it; None where it would be bent."""
    if x.range is None or y.range is None or x.log != y.log:
        return None
    low, high = max(x.range[0], y.range[0]), min(x.range[1], y.range[1])
    if low >= high:
        return None
    return Line("equal", "reference", [low, high], [low, high], "dash", 1.0)


@dataclass(frozen=True)
class Curve:
    """One training of `Curves`."""

    row: int
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class Curves:
    """Many lines of the same meaning."""

    name: str
    role: Role
    curves: Sequence[Curve]
    width: float = 1.0


@dataclass(frozen=True)
class Bars:
    """A histogram."""

    name: str
    role: Role
    edges: Sequence[float]
    """One more than there are bars."""
    heights: Sequence[float]
    counts: Sequence[int]
    filled: bool = True


@dataclass(frozen=True)
class Box:
    """Spread of the values at one place of the x axis."""

    x: float
    low: float
    lower: float
    """First quartile."""
    median: float
    upper: float
    """Third quartile."""
    high: float
    count: int
    label: str = ""


@dataclass(frozen=True)
class Boxes:
    """Medians and quartiles; whiskers reach to the lowest and the highest value."""

    name: str
    role: Role
    boxes: Sequence[Box]
    width: float = 0.6


@dataclass(frozen=True)
class Field:
    """A value over a plane, drawn as bands with labelled limits."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float]]
    """Rows by y, positive."""
    levels: Sequence[float]
    """Limits of the bands, ascending."""
    labels: Sequence[tuple[float, float, str]] = ()
    """Place and text of each limit's label."""


@dataclass(frozen=True)
class Hexagons:
    """Counts in hexagonal bins."""

    name: str
    x: Sequence[float]
    """Centres."""
    y: Sequence[float]
    counts: Sequence[int]
    width: float
    """Between two opposite vertical sides, in units of x."""
    height: float
    """Between the upper and the lower corner, in units of y."""
    top: int
    """Count of the brightest colour, the same in all panels of a figure."""


Layer = Points | Line | Curves | Bars | Boxes | Field | Hexagons


@dataclass(frozen=True)
class Panel:
    """One plot."""

    x: Axis
    y: Axis
    layers: Sequence[Layer]
    title: str = ""
    note: str = ""
    """Short text in a corner, lines parted by newlines."""
    square: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels that belong together, with what a reader needs to understand them."""

    id: str
    section: str
    """Part of the report that it stands in."""
    title: str
    caption: str
    """What one sees and how to read it."""
    panels: Sequence[Panel] = field(default_factory=tuple)
    columns: int = 3
    """Panels side by side where there is room."""

    @property
    def legend(self) -> list[Layer]:
        """Layers that need a name in the legend: each name once; a single kind needs none."""
        named: dict[str, Layer] = {}
        for panel in self.panels:
            for layer in panel.layers:
                if layer.name and not isinstance(layer, Field | Hexagons):
                    named.setdefault(layer.name, layer)
        return list(named.values()) if len(named) > 1 else []

    @property
    def counted(self) -> Hexagons | None:
        """A layer of counts, whose colours need a scale."""
        return next((a for panel in self.panels for a in panel.layers if isinstance(a, Hexagons)), None)
