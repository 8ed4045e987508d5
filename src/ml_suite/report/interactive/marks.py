"""Marks and lines of a plot: each layer as traces for plotly, with what is told about their points."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ml_suite.report.figure import Axis, Bars, Boxes, Curves, Field, Hexagons, Layer, Line, Panel, Points
from ml_suite.report.interactive.axes import Json, numbers
from ml_suite.report.interactive.planes import field, hexagons

MAX_POINTS = 1500
"""Marks that a browser draws quickly; of more the first `FIRST` are drawn and an even choice of the others."""
FIRST = 100
SYMBOLS = {
    "circle": "circle",
    "open": "circle-open",
    "diamond": "diamond",
    "star": "star",
    "square": "square",
}
POINT = 4 / 3
"""Pixels of one typographic point."""


def traces(layer: Layer, panel: Panel) -> list[tuple[Json, Json]]:
    match layer:
        case Points():
            return [_points(layer)]
        case Line():
            return [_line(layer)]
        case Curves():
            return [_curves(layer, panel.x.title)]
        case Bars():
            return _bars(layer, panel.x)
        case Boxes():
            return _boxes(layer)
        case Field():
            return [field(layer)]
        case Hexagons():
            return hexagons(layer)


def _points(layer: Points) -> tuple[Json, Json]:
    kept = _even(len(layer.x))
    x, y = [layer.x[i] for i in kept], [layer.y[i] for i in kept]
    many = len(layer.x) > 150
    trace: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(x),
        "y": numbers(y),
        "marker": {
            "color": f"@{layer.role}",
            "size": round(layer.size * POINT, 1),
            "symbol": SYMBOLS[layer.marker],
            "opacity": 0.5 if many else 0.95,
            "line": {"width": 0 if many else 1, "color": "@ground"},
        },
    }
    if layer.marker == "open":
        trace["marker"]["line"] = {"width": 1}
    if layer.spread:
        above = [max(0.0, high - v) for (_, high), v in zip(layer.spread, layer.y, strict=True)]
        below = [max(0.0, v - low) for (low, _), v in zip(layer.spread, layer.y, strict=True)]
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": numbers([above[i] for i in kept]),
            "arrayminus": numbers([below[i] for i in kept]),
            "color": f"@{layer.role}",
            "thickness": 1.2,
            "width": 3,
        }
    told: Json = {"rows": [layer.rows[i] for i in kept]} if layer.rows else {}
    if layer.notes:
        told["notes"] = [layer.notes[i] for i in kept]
    return trace, told


def _even(count: int) -> Sequence[int]:
    """Which of so many marks are drawn."""
    if count <= MAX_POINTS:
        return range(count)
    rest = MAX_POINTS - FIRST
    return [*range(FIRST), *(FIRST + i * (count - FIRST) // rest for i in range(rest))]


def _line(layer: Line) -> tuple[Json, Json]:
    trace: Json = {
        "type": "scatter",
        "mode": "lines+markers" if layer.markers else "lines",
        "x": numbers(layer.x),
        "y": numbers(layer.y),
        "line": {"color": f"@{layer.role}", "dash": layer.dash, "width": layer.width * POINT},
    }
    if layer.steps:
        trace["line"]["shape"] = "hv"
    if layer.markers:
        trace["marker"] = {"size": 7}
        trace["hovertemplate"] = f"{html.escape(layer.name)}: %{{y:.5g}}<extra></extra>"
    elif layer.note:
        trace["hovertemplate"] = f"{html.escape(layer.note)}<extra></extra>"
    else:
        trace["hoverinfo"] = "skip"
    return trace, {}


def _curves(layer: Curves, x_title: str) -> tuple[Json, Json]:
    """All lines as one trace, parted by gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    for curve in layer.curves:
        x += [*curve.x, None]
        y += [*curve.y, None]
    short = all(len(curve.x) < 4 for curve in layer.curves)
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if short else "lines",
        "x": numbers(x),
        "y": numbers(y),
        "line": {"color": f"@{layer.role}", "width": layer.width * POINT},
        "opacity": 0.6 if layer.role == "step1" else 0.9,
        "hovertemplate": f"%{{text}}<br>{html.escape(x_title)} %{{x}}: %{{y:.6g}}<extra></extra>",
    }
    return trace, {"curves": [curve.row for curve in layer.curves]}


def _bars(layer: Bars, axis: Axis) -> list[tuple[Json, Json]]:
    """A stepped outline, because bars on a logarithmic axis have no width of their own."""
    x, y = [layer.edges[0]], [0.0]
    for left, right, height in zip(layer.edges, layer.edges[1:], layer.heights, strict=False):
        x += [left, right]
        y += [height, height]
    outline: Json = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([*x, layer.edges[-1]]),
        "y": numbers([*y, 0.0]),
        "line": {"color": f"@{layer.role}", "width": 0 if layer.filled else 2.5},
        "hoverinfo": "skip",
    }
    if layer.filled:
        outline |= {"fill": "tozeroy", "fillcolor": f"@{layer.role}", "opacity": 0.55}
    middles = [
        math.sqrt(a * b) if axis.log else (a + b) / 2
        for a, b in zip(layer.edges, layer.edges[1:], strict=False)
    ]
    total = sum(layer.counts)
    marks: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(middles),
        "y": numbers(layer.heights),
        "marker": {"size": 14, "opacity": 0, "color": f"@{layer.role}"},
    }
    spans = [f"{a:.4g} to {b:.4g}" for a, b in zip(layer.edges, layer.edges[1:], strict=False)]
    told = [
        f"{layer.name}: {n:,} of {total:,} ({h:.1%})"
        + (f", {span}" if not axis.ticks and layer.edges[1] - layer.edges[0] != 1 else "")
        for n, h, span in zip(layer.counts, layer.heights, spans, strict=True)
    ]
    return [(outline, {}), (marks, {"notes": told})]


def _boxes(layer: Boxes) -> list[tuple[Json, Json]]:
    """Boxes as lines, for plotly draws its own below all marks, and invisible marks that tell the numbers."""
    x: list[float | None] = []
    y: list[float | None] = []
    half = layer.width / 2
    for b in layer.boxes:
        left, right = b.x - half, b.x + half
        paths: list[list[tuple[float, float]]] = [
            [(left, b.lower), (right, b.lower), (right, b.upper), (left, b.upper), (left, b.lower)],
            [(b.x, b.lower), (b.x, b.low)],
            [(b.x, b.upper), (b.x, b.high)],
            *([(b.x - half / 2, end), (b.x + half / 2, end)] for end in (b.low, b.high)),
        ]
        for path in paths:
            x += [*(at for at, _ in path), None]
            y += [*(at for _, at in path), None]
    outline: Json = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x),
        "y": numbers(y),
        "line": {"color": f"@{layer.role}", "width": 1.4},
        "hoverinfo": "skip",
    }
    medians = outline | {
        "x": numbers([v for b in layer.boxes for v in (b.x - half, b.x + half, None)]),
        "y": numbers([v for b in layer.boxes for v in (b.median, b.median, None)]),
        "line": {"color": f"@{layer.role}", "width": 3},
    }
    marks: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([b.x for b in layer.boxes]),
        "y": numbers([b.median for b in layer.boxes]),
        "marker": {"size": 12, "opacity": 0},
    }
    told = [
        f"{b.label + ': ' if b.label else ''}median {b.median:.4g} of {b.count:,}, "
        f"quartiles {b.lower:.4g} and {b.upper:.4g}"
        for b in layer.boxes
    ]
    return [(outline, {}), (medians, {}), (marks, {"notes": told})]
