"""Truth against prediction on the test samples."""

from __future__ import annotations

from ml_suite.report.figure import Axis, Figure, Hexagons, Line, Panel
from ml_suite.report.figures.view import View
from ml_suite.report.model import Prediction
from ml_suite.report.scales import widened
from ml_suite.report.words import number

PANELS = 24


def truth_against_prediction(view: View) -> Figure | None:
    """One panel for each model and output: counts in hexagons."""
    found = [p for p in view.report.predictions[:PANELS] if p.counts]
    if not found:
        return None
    models = list(dict.fromkeys(p.model for p in found))
    top = max(max(p.counts, default=1) for p in found)
    panels = [_panel(p, top, len(models) > 1) for p in found]
    outputs = len(found) // len(models)
    best = max(found, key=lambda p: p.r2 if p.r2 is not None else -1.0)
    caption = (
        f"{found[0].samples:,} test samples that no training saw, counted in hexagons; brighter is more, on a "
        "logarithmic scale. A perfect model lies on the dashed line. In the corner: mean squared error and coefficient "
        f"of determination R²; the best is {_r2(best)} for {best.output}."
    )
    columns = outputs if outputs in (2, 4) else 3
    return Figure("predictions", "predictions", "Truth against prediction", caption, panels, columns)


def _r2(p: Prediction) -> str:
    if p.r2 is None:
        return "not defined"
    return "> 0.9999" if p.r2 > 0.9999 else f"{p.r2:.4f}"


def _panel(p: Prediction, top: int, named: bool) -> Panel:
    every = [*p.truth, *p.predicted]
    low, high = widened(min(every, default=0.0), max(every, default=1.0), log=False, margin=0.03)
    hexagons = Hexagons("samples", p.truth, p.predicted, p.counts, p.width, p.height, top)
    return Panel(
        Axis("truth", range=(low, high)),
        Axis("prediction", range=(low, high)),
        [hexagons, Line("perfect", "reference", [low, high], [low, high], "dash", 1.0)],
        title=f"{p.model}: {p.output}" if named else p.output,
        note=f"MSE {number(p.mse, 3)}\nR² {_r2(p)}",
        square=True,
    )
