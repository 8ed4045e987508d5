"""Values over a plane: bands of a field, counts in hexagons."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import pairwise

from ml_suite.report.figure import Field, Hexagons
from ml_suite.report.interactive.axes import Json, numbers
from ml_suite.report.style import bands


def field(layer: Field) -> tuple[Json, Json]:
    """Filled bands between limits that need not be evenly spaced: each value becomes its place among them."""
    last = len(layer.levels) - 1
    colours = bands(last + 2)
    trace = {
        "type": "contour",
        "x": numbers(layer.x),
        "y": numbers(layer.y),
        "z": [[round(_place(v, layer.levels), 3) for v in row] for row in layer.z],
        "text": [[f"{v:.1%}" for v in row] for row in layer.z],
        "zmin": -0.5,
        "zmax": last + 0.5,
        "contours": {"start": 0, "end": last, "size": 1, "coloring": "fill"},
        "colorscale": [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)],
        "showscale": False,
        "line": {"width": 1, "color": "rgba(255,255,255,0.65)"},
        "hovertemplate": f"{html.escape(layer.name)}: %{{text}}<extra></extra>",
    }
    return trace, {}


def _place(value: float, levels: Sequence[float]) -> float:
    """Where a value lies among the limits: 0 at the first, 1 at the second."""
    logs = [math.log(level) for level in levels]
    v = math.log(value)
    for i, (a, b) in enumerate(pairwise(logs)):
        if v <= b:
            return i + (v - a) / (b - a)
    return len(logs) - 1 + (v - logs[-1])


def hexagons(layer: Hexagons) -> list[tuple[Json, Json]]:
    """Hexagons in data units, a trace for each band of counts, and invisible marks that tell the count."""
    top = layer.top
    steps = min(8, max(1, math.ceil(math.log2(top)) if top > 1 else 1))
    colours = bands(steps)
    by_band: dict[int, list[int]] = {}
    for i, n in enumerate(layer.counts):
        share = math.log(n) / math.log(top) if top > 1 else 0.0
        by_band.setdefault(min(int(share * steps), steps - 1), []).append(i)
    made: list[tuple[Json, Json]] = []
    w, h = layer.width / 2, layer.height / 2
    corners = [(0, h), (w, h / 2), (w, -h / 2), (0, -h), (-w, -h / 2), (-w, h / 2), (0, h)]
    for band, members in sorted(by_band.items()):
        x: list[float | None] = []
        y: list[float | None] = []
        for i in members:
            x += [*(layer.x[i] + dx for dx, _ in corners), None]
            y += [*(layer.y[i] + dy for _, dy in corners), None]
        outline = {"color": colours[band], "width": 0.5}
        trace = {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(x, 4),
            "y": numbers(y, 4),
            "fill": "toself",
            "fillcolor": colours[band],
            "line": outline,
            "hoverinfo": "skip",
        }
        made.append((trace, {}))
    marks: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(layer.x, 4),
        "y": numbers(layer.y, 4),
        "marker": {"opacity": 0, "size": 8},
    }
    return [*made, (marks, {"notes": [f"{n:,} {layer.name}" for n in layer.counts]})]
