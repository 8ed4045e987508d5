"""The evidence of the certificate: do trainings on a subset agree with each other and with larger ones."""

from __future__ import annotations

from ml_suite.report.figure import Figure, Layer, Line, Panel, Points
from ml_suite.report.figures.view import View
from ml_suite.report.model import Agreement
from ml_suite.report.scales import value_axis


def agreement(view: View) -> Figure | None:
    """Replicates on the subset, the subset against twice as much data, and regret foretold and found."""
    found = view.report.agreement
    if found is None:
        return None
    p = found.subset
    panels = []
    if found.replicate:
        panels.append(
            _scatter(
                view,
                found.replicate,
                found.replicate_tau,
                f"{p:.3g} of the data, one seed",
                f"{p:.3g} of the data, another seed",
            )
        )
    if found.doubled:
        panels.append(
            _scatter(
                view,
                found.doubled,
                found.doubled_tau,
                f"{_percent(p)} of the data",
                f"{_percent(2 * p)} of the data",
            )
        )
    if found.promises:
        panels.append(_promise(found))
    if not panels:
        return None
    caption = (
        "The pilot behind the certificate. First, the same hyperparameters trained twice on "
        f"{_percent(p)} of the data with other seeds: how much of a rank is luck. Then on twice as much data: whether "
        "the order lasts. Points near the dashed line and a high Kendall's tau are good."
    )
    if found.promises:
        caption += (
            " Last, what is foretold for each number of candidates: the winner's metric relative to the best of all "
            "trials (1 is no loss), with its interval"
        )
        caption += "; the star is what was found." if found.realised is not None else "."
    return Figure("agreement", "certificate", "Agreement", caption, panels)


def _scatter(
    view: View, pairs: list[tuple[float, float]], tau: float | None, first: str, second: str
) -> Panel:
    xs, ys = [a for a, _ in pairs], [b for _, b in pairs]
    x, y = view.axis(xs, first), view.axis(ys, second)
    if x.log != y.log:
        x, y = (value_axis(a.title, v, log=False) for a, v in ((x, xs), (y, ys)))
    layers: list[Layer] = [Points("configuration of the pilot", "pilot", xs, ys, size=7)]
    if x.range and y.range:
        low, high = max(x.range[0], y.range[0]), min(x.range[1], y.range[1])
        if low < high:
            layers.insert(0, Line("equal", "reference", [low, high], [low, high], "dash", 1.0))
    return Panel(x, y, layers, note="" if tau is None else f"τ = {tau:.2f}")


def _promise(found: Agreement) -> Panel:
    keeps = [float(p.keep) for p in found.promises]
    foretold = Points(
        "foretold, with interval",
        "pilot",
        keeps,
        [p.regret for p in found.promises],
        notes=[f"keeping {p.keep}: {p.regret:.3f} ({p.low:.3f} to {p.high:.3f})" for p in found.promises],
        spread=[(p.low, p.high) for p in found.promises],
        marker="square",
        size=6,
    )
    layers: list[Layer] = [
        Line("no loss", "reference", [min(keeps), max(keeps)], [1.0, 1.0], "dot", 1.0),
        foretold,
    ]
    if found.realised is not None and found.keep is not None:
        note = f"kept {found.keep}: {found.realised:.3f}"
        layers.append(
            Points(
                "found", "winner", [float(found.keep)], [found.realised], notes=[note], marker="star", size=12
            )
        )
    values = [v for p in found.promises for v in (p.low, p.high)] + [1.0]
    if found.realised is not None:
        values.append(found.realised)
    x = value_axis("candidates kept", keeps, log=len(keeps) > 1 and max(keeps) / min(keeps) > 8)
    y = value_axis("metric of the winner / best of all trials", values, log=False)
    return Panel(x, y, layers)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
