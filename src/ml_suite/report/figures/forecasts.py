"""Errors of forecasts by lead time."""

from __future__ import annotations

from ml_suite.evaluation.scores import Evaluation
from ml_suite.report.figure import Axis, Figure, Line, Panel, Role
from ml_suite.report.figures.view import View

ROLES: dict[str, Role] = {"winner": "step2", "incumbent": "incumbent"}


def rmse(view: View) -> Figure | None:
    """Root mean square error by lead time, one panel a variable."""
    evaluation = view.report.evaluation
    if evaluation is None or not evaluation.persistence:
        return None
    panels = [_panel(evaluation, variable) for variable in evaluation.persistence]
    caption = (
        "Error of the forecasts on the test period, lower is better. Where the winner lies under persistence "
        "(dotted: tomorrow is like today) its forecasts are of use."
    )
    return Figure("rmse", "forecasts", "Root mean square error by lead time", caption, panels)


def _panel(evaluation: Evaluation, variable: str) -> Panel:
    hours = evaluation.lead_hours
    layers = [
        Line(m.role, ROLES[m.role], hours, m.rmse[variable], markers=True)
        for m in evaluation.models
        if variable in m.rmse
    ]
    layers.append(
        Line("persistence", "reference", hours, evaluation.persistence[variable], "dot", markers=True)
    )
    values = [v for layer in layers for v in layer.y if v is not None]
    unit = evaluation.units.get(variable)
    step = -(-len(hours) // 6)
    x = Axis("lead time (h)", ticks=tuple((h, f"{h:g}") for h in hours[::step]))
    y = Axis(
        f"{variable} ({unit})" if unit else variable, range=(0.0, 1.08 * max(values, default=1.0) or 1.0)
    )
    return Panel(x, y, layers)
