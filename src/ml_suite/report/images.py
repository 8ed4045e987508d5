"""Figures as PNG and SVG files, drawn with matplotlib in one style."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.report import rows
from ml_suite.report.drawing import draw_layer, plain, set_axis
from ml_suite.report.figure import Figure, Layer, Panel
from ml_suite.report.figures import each
from ml_suite.report.model import Report
from ml_suite.report.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Kind = Literal["png", "svg"]

WIDTH, HEIGHT = 4.4, 3.3
"""Inches of one panel among several."""
ALONE = (6.4, 4.2)
"""Inches of the only panel."""
MARK = 28.0
"""Least area of a mark in the legend, in square points."""
STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#8b97a3",
    "axes.labelcolor": "#1f2933",
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.7,
    "xtick.color": "#4d5a67",
    "ytick.color": "#4d5a67",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    # SVG ids are random without a salt
    "svg.hashsalt": "ml-suite",
    "savefig.facecolor": "#ffffff",
}


def write(report: Report, folder: Path, formats: Sequence[Kind] = ("png", "svg")) -> list[Path]:
    """Write every figure that the report has data for, and the table of the best models as CSV.

    The same report gives the same bytes.

    Returns
    -------
    list of Path
        Files written, in the order of the page.

    Raises
    ------
    MlSuiteError
        If a figure cannot be drawn; all others are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn, undrawn = each(report, lambda figure: (figure.id, draw(figure, formats)))
    written = []
    for name, images in drawn:
        for kind, content in images.items():
            path = folder / f"{name}.{kind}"
            atomic.write(path, content)
            written.append(path)
    if report.rows:
        path = folder / "top.csv"
        atomic.write(path, top_table(report))
        written.append(path)
    if undrawn:
        told = "; ".join(one.words for one in undrawn)
        raise MlSuiteError(f"could not be drawn: {told}", f"All others are in {folder}.")
    return written


def draw(figure: Figure, formats: Sequence[Kind]) -> dict[Kind, bytes]:
    """Draw a figure once and save it in some formats."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    made: dict[Kind, bytes] = {}
    with matplotlib.rc_context(STYLE):
        canvas = _canvas(figure)
        for kind in formats:
            buffer = io.BytesIO()
            nothing = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            canvas.savefig(buffer, format=kind, dpi=200, metadata=nothing)
            made[kind] = buffer.getvalue()
        pyplot.close(canvas)
    return made


def top_table(report: Report) -> str:
    """Best models as CSV, one a line."""
    names = rows.names(report)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    known = ["place", "trial", report.metric or "value", "seeds", "step1_value", "step1_rank", "layers"]
    table.writerow([*known, "parameters", "inference_seconds", "seconds", *names])
    for place, best in enumerate(rows.top(report, 50), start=1):
        row, before = best.row, best.first
        cells = [place, row.trial, best.value, best.seeds, before.value if before else None]
        cells += [
            before.rank if before else None,
            row.depth,
            row.parameters,
            row.inference_seconds,
            row.seconds,
        ]
        values = [rows.text(v) if isinstance(v := row.params.get(n), list) else v for n in names]
        table.writerow(["" if c is None else c for c in [*cells, *values]])
    return out.getvalue()


def _canvas(figure: Figure) -> Canvas:
    from matplotlib import pyplot

    count = len(figure.panels)
    columns = min(figure.columns, count)
    lines = math.ceil(count / columns)
    width, height = ALONE if count == 1 else (WIDTH if columns < 4 else 3.6, HEIGHT)
    if any(panel.square for panel in figure.panels):
        width, height = (5.6, 5.2) if count == 1 else (3.5, 3.4)
    size = (width * columns, height * lines + 0.35)
    canvas, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    canvas.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    for axis, panel in zip(axes.flat, figure.panels, strict=False):
        _panel(axis, panel)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    _legend(canvas, list(axes.flat), figure.legend)
    if figure.counted is not None:
        canvas.colorbar(axes.flat[0].collections[0], ax=axes, label=figure.counted.name, shrink=0.6, pad=0.02)
    return canvas


def _panel(axis: Axes, panel: Panel) -> None:
    set_axis(axis, "x", panel.x)
    set_axis(axis, "y", panel.y)
    for height, layer in enumerate(panel.layers):
        draw_layer(axis, layer, 2 + height)
    # layers widen the limits
    set_axis(axis, "x", panel.x)
    set_axis(axis, "y", panel.y)
    if panel.y.percent and not panel.y.log:
        axis.set_ylim(bottom=0)
    if panel.title:
        axis.set_title(plain(panel.title), fontsize=9.5, loc="left", color=LIGHT["front"])
    if panel.note:
        axis.text(
            0.03,
            0.97,
            plain(panel.note),
            transform=axis.transAxes,
            va="top",
            fontsize=8.5,
            zorder=20,
            bbox={"facecolor": "#ffffff", "alpha": 0.8, "edgecolor": "none", "pad": 2},
        )
    if panel.square:
        axis.set_box_aspect(1)


def _legend(canvas: Canvas, axes: Sequence[Axes], layers: list[Layer]) -> None:
    wanted = [layer.name for layer in layers]
    found: dict[str, Artist] = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    names = [name for name in wanted if name in found]
    if names:
        from matplotlib.collections import PathCollection

        # inches of the longest name with its mark
        each = 0.067 * max(map(len, names)) + 0.5
        legend = canvas.legend(
            [found[n] for n in names],
            names,
            loc="outside upper left",
            ncols=max(1, min(len(names), int(canvas.get_figwidth() / each))),
            handlelength=1.6,
        )
        for mark in legend.legend_handles:
            # marks of a large cloud are too small and pale to be recognised
            if isinstance(mark, PathCollection):
                mark.set_sizes([max(MARK, *mark.get_sizes())])
                mark.set_alpha(1.0)
