"""Each kind of layer on a matplotlib axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ml_suite.report.figure import Axis, Bars, Boxes, Curves, Field, Hexagons, Layer, Line, Points
from ml_suite.report.scales import parts, ticks
from ml_suite.report.style import LIGHT, SCALE, bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"circle": "o", "open": "o", "diamond": "D", "star": "*", "square": "s"}
DASHES = {"solid": "-", "dash": (0, (5, 3)), "dot": (0, (1.2, 2))}
MANY = 2000
"""More marks than this are pixels in an SVG file too, which would be huge otherwise."""


def draw_layer(axis: Axes, layer: Layer, z: int) -> None:
    """Draw it; Z says what lies over what."""
    match layer:
        case Points():
            _points(axis, layer, z)
        case Line():
            _line(axis, layer, z)
        case Curves():
            _curves(axis, layer, z)
        case Bars():
            _bars(axis, layer, z)
        case Boxes():
            _boxes(axis, layer, z)
        case Field():
            _field(axis, layer)
        case Hexagons():
            _hexagons(axis, layer)


def set_axis(axis: Axes, which: Literal["x", "y"], told: Axis) -> None:
    """Scale, range, ticks and title of one axis."""
    from matplotlib.ticker import NullLocator, PercentFormatter

    own = axis.xaxis if which == "x" else axis.yaxis
    if told.log:
        own.axes.set(**{f"{which}scale": "log"})
    if told.range:
        axis.set(**{f"{which}lim": told.range})
    if (marks := ticks(told)) is not None:
        own.set_ticks([v for v, _ in marks], [_typeset(label) for _, label in marks])
        own.set_minor_locator(NullLocator())
        _turn_long_labels(axis, which, [label for _, label in marks])
    elif told.percent:
        own.set_major_formatter(PercentFormatter(1.0, decimals=0))
    own.set_label_text(plain(told.title))


def _turn_long_labels(axis: Axes, which: str, labels: list[str]) -> None:
    if which == "x" and sum(len(label) for label in labels) > 44:
        axis.tick_params(axis="x", labelrotation=30)
        for label in axis.get_xticklabels():
            label.set_horizontalalignment("right")


def _points(axis: Axes, layer: Points, z: int) -> None:
    colour = LIGHT[layer.role]
    many = len(layer.x) > 400
    if layer.spread:
        below = [max(0.0, y - low) for y, (low, _) in zip(layer.y, layer.spread, strict=True)]
        above = [max(0.0, high - y) for y, (_, high) in zip(layer.y, layer.spread, strict=True)]
        axis.errorbar(
            layer.x,
            layer.y,
            yerr=[below, above],
            fmt="none",
            ecolor=colour,
            elinewidth=1,
            capsize=2,
            zorder=z,
        )
    size = layer.size * (0.6 if len(layer.x) > 3000 else 1.0)
    axis.scatter(
        layer.x,
        layer.y,
        s=size**2 * (1.6 if layer.marker == "star" else 0.8),
        marker=MARKERS[layer.marker],
        facecolors="none" if layer.marker == "open" else colour,
        edgecolors=colour if layer.marker == "open" else "none" if many else "#ffffff",
        linewidths=0.7 if layer.marker == "open" else 0.5,
        alpha=0.45 if many else 0.95,
        label=layer.name,
        zorder=z + (5 if layer.marker == "star" else 0),
        rasterized=len(layer.x) > MANY,
    )


def _line(axis: Axes, layer: Line, z: int) -> None:
    axis.plot(
        layer.x,
        [math.nan if y is None else y for y in layer.y],
        color=LIGHT[layer.role],
        linestyle=DASHES[layer.dash],
        linewidth=layer.width,
        marker="o" if layer.markers else None,
        markersize=3.5,
        drawstyle="steps-post" if layer.steps else "default",
        label=layer.name or None,
        zorder=z,
    )


def _curves(axis: Axes, layer: Curves, z: int) -> None:
    short = all(len(curve.x) < 4 for curve in layer.curves)
    for n, curve in enumerate(layer.curves):
        axis.plot(
            curve.x,
            [math.nan if y is None else y for y in curve.y],
            color=LIGHT[layer.role],
            linewidth=layer.width,
            alpha=0.55 if layer.role == "step1" else 0.9,
            marker="o" if short else None,
            markersize=3,
            label=layer.name if n == 0 else None,
            zorder=z,
        )


def _bars(axis: Axes, layer: Bars, z: int) -> None:
    axis.stairs(
        layer.heights,
        layer.edges,
        fill=layer.filled,
        color=LIGHT[layer.role],
        alpha=0.55 if layer.filled else 1.0,
        linewidth=0 if layer.filled else 1.7,
        label=layer.name,
        zorder=z,
    )


def _boxes(axis: Axes, layer: Boxes, z: int) -> None:
    colour = LIGHT[layer.role]
    line = {"color": colour, "linewidth": 1.1}
    told = [
        {"med": b.median, "q1": b.lower, "q3": b.upper, "whislo": b.low, "whishi": b.high}
        for b in layer.boxes
    ]
    drawn = axis.bxp(
        told,
        positions=[b.x for b in layer.boxes],
        widths=layer.width,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops=line | {"linewidth": 2.2},
        zorder=z,
        manage_ticks=False,
    )
    drawn["boxes"][0].set_label(layer.name)


def _field(axis: Axes, layer: Field) -> None:
    colours = bands(len(layer.levels) + 1)
    low, high = min(map(min, layer.z)), max(map(max, layer.z))
    limits = [min(low, layer.levels[0]) * 0.99, *layer.levels, max(high, layer.levels[-1]) * 1.01]
    axis.grid(False)
    axis.contourf(layer.x, layer.y, layer.z, levels=limits, colors=colours, zorder=0.5)
    axis.contour(
        layer.x, layer.y, layer.z, levels=layer.levels, colors="#ffffff", linewidths=0.7, alpha=0.7, zorder=1
    )
    for x, y, text in layer.labels:
        axis.text(
            x,
            y,
            text,
            color="#ffffff",
            fontsize=8.5,
            ha="center",
            va="center",
            zorder=2,
            bbox={"facecolor": "#001432", "alpha": 0.55, "edgecolor": "none", "pad": 1.5},
        )


def _hexagons(axis: Axes, layer: Hexagons) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    w, h = layer.width / 2, layer.height / 2
    corners = [(0, h), (w, h / 2), (w, -h / 2), (0, -h), (-w, -h / 2), (-w, h / 2)]
    cells = [[(x + dx, y + dy) for dx, dy in corners] for x, y in zip(layer.x, layer.y, strict=True)]
    scale = LinearSegmentedColormap.from_list("counts", list(SCALE))
    drawn = PolyCollection(
        cells,
        norm=LogNorm(1, max(layer.top, 2)),
        cmap=scale,
        edgecolors="face",
        linewidths=0.2,
        zorder=1,
    )
    drawn.set_array([float(n) for n in layer.counts])
    axis.add_collection(drawn)


def plain(text: str) -> str:
    """Text as it is: a dollar sign of a name must not start a formula."""
    return text.replace("$", r"\$")


def _typeset(label: str) -> str:
    split = parts(label)
    if split is None:
        return plain(label)
    mantissa, exponent = split
    power = f"10^{{{exponent}}}".replace("\N{MINUS SIGN}", "-")
    return f"${mantissa}\\cdot {power}$" if mantissa else f"${power}$"
