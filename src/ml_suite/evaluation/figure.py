"""One figure: RMSE by lead time of every variable, the winner against persistence and the weights in use."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Literal

from ml_suite.evaluation.scores import Evaluation, ModelScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito: told apart by every kind of colour vision
STYLES = {"winner": ("#0072B2", "o-"), "incumbent": ("#E69F00", "s--"), "persistence": ("#777777", "^:")}
_COLUMNS = 3


def draw(evaluation: Evaluation, kind: Literal["png", "svg"]) -> bytes:
    """Draw the figure as a file; the same evaluation gives the same bytes.

    Raises
    ------
    ValueError
        If the evaluation has no forecasts.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    variables = list(evaluation.persistence)
    if not variables:
        raise ValueError("nothing to draw: the evaluation has no forecasts")
    columns = min(_COLUMNS, len(variables))
    rows = math.ceil(len(variables) / columns)
    # SVG ids are random without a salt
    with matplotlib.rc_context({"svg.hashsalt": "ml-suite", "font.size": 8, "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(2.6 * columns, 1.9 * rows + 0.4), squeeze=False, sharex=True
        )
        for axis, variable in zip(axes.flat, variables, strict=False):
            _panel(axis, evaluation, variable)
        for axis in axes.flat[len(variables) :]:
            axis.set_visible(False)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)
        figure.supxlabel("lead time (hours)", fontsize=8)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / (1.9 * rows + 0.4)))
        buffer = io.BytesIO()
        nothing = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=nothing)
        pyplot.close(figure)
    return buffer.getvalue()


def _panel(axis: Axes, evaluation: Evaluation, variable: str) -> None:
    for model in evaluation.models:
        _line(axis, evaluation, model, variable)
    colour, marks = STYLES["persistence"]
    axis.plot(
        evaluation.lead_hours,
        _gaps(evaluation.persistence[variable]),
        marks,
        color=colour,
        ms=3,
        label="persistence",
    )
    unit = evaluation.units.get(variable)
    axis.set_title(f"{variable} ({unit})" if unit else variable, fontsize=8)
    axis.set_ylim(bottom=0)
    axis.set_xticks(evaluation.lead_hours if len(evaluation.lead_hours) <= 6 else evaluation.lead_hours[::4])
    axis.grid(alpha=0.3, lw=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def _line(axis: Axes, evaluation: Evaluation, model: ModelScores, variable: str) -> None:
    if variable in model.rmse:
        colour, marks = STYLES[model.role]
        row = _gaps(model.rmse[variable])
        axis.plot(evaluation.lead_hours, row, marks, color=colour, ms=3, label=model.role)


def _gaps(row: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in row]
