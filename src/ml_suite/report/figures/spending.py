"""What a search costs, over the two shares that a user chooses."""

from __future__ import annotations

from ml_suite.report.figure import Axis, Field, Figure, Line, Panel, Points
from ml_suite.report.figures.view import View
from ml_suite.report.model import CostModel
from ml_suite.report.words import duration

GRID = 49
OVERHEAD = 0.0005
"""Cost of a trial whatever its data, as a part of one on all data, from which on it is worth a word."""
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def share(model: CostModel, subset: float, keep: float) -> float:
    """Cost of both steps as a share of training every trial on everything.

    Parameters
    ----------
    subset, keep
        Shares of the data in step 1 and of the trials in step 2.
    """
    return model.step1 * subset + model.overhead + model.step2 * keep + model.pilot


def _diagonal(model: CostModel, level: float) -> float:
    """Where both shares are equal and cost LEVEL."""
    return (level - model.overhead - model.pilot) / (model.step1 + model.step2)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def cost_map(view: View) -> Figure | None:
    """Share of the one-step cost over both shares, the study's own point marked."""
    model = view.report.cost_model
    if model is None:
        return None
    low = min(1e-3, model.subset / 3, model.keep / 3 if model.keep else 1e-3)
    places = [low * (1 / low) ** (i / (GRID - 1)) for i in range(GRID)]
    z = [[share(model, p, k) for p in places] for k in places]
    least, most = min(map(min, z)), max(map(max, z))
    levels = [level for level in LEVELS if least * 1.05 < level < most]
    if not levels:
        return None
    labels = [
        (at, at, f"{100 * level:g} %") for level in levels if (at := _diagonal(model, level)) and low < at < 1
    ]
    field = Field("share of the one-step cost", places, places, z, levels, labels)
    predicted = share(model, model.subset, model.keep)
    note = f"formula: {_percent(predicted)}"
    if model.measured is not None:
        note = f"measured: {_percent(model.measured)}, {note}"
    mark = Points(
        "this study",
        "winner",
        [model.subset],
        [model.keep or low],
        notes=[f"{_percent(model.subset)} of the data, {_percent(model.keep)} of the trials; {note}"],
        marker="star",
        size=15,
    )
    layers: list[Field | Line | Points] = [field, mark]
    ends = (low, 1.0)
    x = Axis("part of the data in step 1 (%)", True, ends, percent=True)
    y = Axis("part of the trials in step 2 (%)", True, ends, percent=True)
    measured = f", {_percent(model.measured)} as measured" if model.measured is not None else ""
    caption = (
        "Cost of both steps as a share of training every trial on all data, at other shares with the same trials. "
        f"This study (star): {_percent(predicted)} by the formula{measured}. A trial costs "
        f"{duration(model.full_seconds)} on all data"
    )
    if model.overhead > OVERHEAD:
        caption += (
            f", and {duration(model.overhead * model.full_seconds)} however little data it sees: that part is not in "
            "the simple sum of both shares, and is why less data saves nothing more on the left."
        )
    else:
        caption += "; in step 1 it took no more than its part of the data accounts for."
    if model.pilot:
        caption += f" The pilot adds {_percent(model.pilot)}."
    return Figure("costmap", "cost", "Cost map", caption, [Panel(x, y, layers, square=True)])
