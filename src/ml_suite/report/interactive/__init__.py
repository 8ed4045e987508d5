"""Figures for the page as plain plotly objects; pure, plotly itself is not imported.

Colours are written ``@role`` and become those of a light or a dark ground in the browser. What is told about a
training under the pointer is made there too, from one table of all trainings, so that a point costs a few bytes only.
"""

from __future__ import annotations

from ml_suite.report.figure import Field, Figure, Panel, Points
from ml_suite.report.interactive.axes import Json, axis, corner, label
from ml_suite.report.interactive.marks import MAX_POINTS, traces


def plots(figure: Figure) -> list[Json]:
    """One plot a panel: `data` and `layout` for plotly, `hover` for each trace."""
    return [_plot(panel) for panel in figure.panels]


def thinned(figure: Figure) -> tuple[int, int] | None:
    """Marks drawn and marks there are in the largest layer, when not all are drawn."""
    sizes = [len(a.x) for panel in figure.panels for a in panel.layers if isinstance(a, Points)]
    largest = max(sizes, default=0)
    return (MAX_POINTS, largest) if largest > MAX_POINTS else None


def _plot(panel: Panel) -> Json:
    data: list[Json] = []
    hover: list[Json] = []
    for layer in panel.layers:
        for trace, told in traces(layer, panel):
            data.append(trace)
            hover.append(told)
    layout: Json = {"xaxis": axis(panel.x), "yaxis": axis(panel.y)}
    notes = [corner(panel.note)] if panel.note else []
    for layer in panel.layers:
        if isinstance(layer, Field):
            notes += [label(panel, *place) for place in layer.labels]
    if notes:
        layout["annotations"] = notes
    return {"data": data, "layout": layout, "hover": hover}
