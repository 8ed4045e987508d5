"""Figures of the HTML report as plain plotly objects (data and layout); pure, plotly itself is not imported."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from ml_suite.evaluation.scores import Evaluation
from ml_suite.report.model import Report, Row
from ml_suite.report.summary import step_pairs

Figure = dict[str, Any]

STEP1, STEP2, WINNER, INCUMBENT, REFERENCE = "#9AA5B1", "#0072B2", "#D55E00", "#E69F00", "#777777"
"""Okabe and Ito, told apart by every kind of colour vision."""
MAX_CURVES = 200
"""More learning curves than this are only noise; the best are drawn."""


def figures(report: Report) -> dict[str, Figure]:
    """All figures that the report has data for, by the id of their place on the page."""
    makers: dict[str, Callable[[Report], Figure | None]] = {
        "steps": step1_against_step2,
        "ranks": rank_plot,
        "curves": learning_curves,
        "params": hyperparameters,
        "rmse": rmse,
    }
    made = {name: make(report) for name, make in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def step1_against_step2(report: Report) -> Figure | None:
    """Value in step 1 and in step 2 of every candidate."""
    pairs = step_pairs(report.rows)
    if not pairs:
        return None
    return _figure(
        [
            _points(
                "candidates",
                STEP2,
                [(a.value, b.value) for a, b in pairs],
                size=[15 if b.winner else 9 for _, b in pairs],
                each=[WINNER if b.winner else STEP2 for _, b in pairs],
                hover=[_hover(b, f"step 1: {a.value:.6g}<br>") for a, b in pairs],
            )
        ],
        "step 1, subset",
        "step 2, all of the training period",
        showlegend=False,
    )


def rank_plot(report: Report) -> Figure | None:
    """Value against rank in step 1, with what the candidates reached in step 2."""
    ranked = sorted((r for r in report.of_step(1) if r.rank), key=lambda r: r.rank or 0)
    if not ranked:
        return None
    again = {r.trial: r for r in report.of_step(2) if r.value is not None}
    second = [(row, again[row.trial]) for row in ranked if row.trial in again]
    traces = [
        _points("step 1", STEP1, [(r.rank, r.value) for r in ranked], hover=[_hover(r) for r in ranked])
    ]
    if second:
        traces.append(
            _points(
                "step 2",
                STEP2,
                [(first.rank, row.value) for first, row in second],
                size=[15 if row.winner else 9 for _, row in second],
                each=[WINNER if row.winner else STEP2 for _, row in second],
                hover=[_hover(row) for _, row in second],
            )
        )
    return _figure(traces, "rank in step 1", report.metric or "value")


def learning_curves(report: Report) -> Figure | None:
    """Metric after every validation."""
    drawn = [row for row in report.rows if row.history]
    drawn.sort(key=lambda r: (r.winner, r.step, -(r.rank or 10**9)))
    traces = [_curve(row) for row in drawn[-MAX_CURVES:]]
    return _figure(traces, "optimiser steps", report.metric or "value", showlegend=False) if traces else None


def hyperparameters(report: Report) -> Figure | None:
    """Value against each hyperparameter, one panel each."""
    usable = [row for row in report.rows if row.rank and row.value is not None]
    names = sorted({name for row in usable for name in row.params})
    if not names:
        return None
    traces, layout = [], _panels(len(names))
    for i, name in enumerate(names, start=1):
        suffix = "" if i == 1 else str(i)
        for step, colour in ((1, STEP1), (2, STEP2), (0, STEP2)):
            rows = [row for row in usable if row.step == step and name in row.params]
            if rows:
                points = [(_plain(row.params[name]), row.value) for row in rows]
                trace = _points(
                    f"step {step}" if step else "training", colour, points, hover=[_hover(r) for r in rows]
                )
                traces.append(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": i == 1})
        logarithmic = "log" in report.space.get(name, {})
        layout[f"xaxis{suffix}"] = _axis(name) | ({"type": "log"} if logarithmic else {})
        layout[f"yaxis{suffix}"] = _axis("")
    return {"data": traces, "layout": layout}


def rmse(report: Report) -> Figure | None:
    """RMSE by lead time, one panel a variable."""
    if report.evaluation is None or not report.evaluation.persistence:
        return None
    evaluation = report.evaluation
    traces: list[dict[str, Any]] = []
    layout = _panels(len(evaluation.persistence))
    for i, variable in enumerate(evaluation.persistence, start=1):
        suffix = "" if i == 1 else str(i)
        for trace in _rmse_lines(evaluation, variable):
            traces.append(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": i == 1})
        unit = evaluation.units.get(variable)
        layout[f"xaxis{suffix}"] = _axis("lead time (h)") | {"tickvals": evaluation.lead_hours}
        layout[f"yaxis{suffix}"] = _axis(f"{variable} ({unit})" if unit else variable) | {
            "rangemode": "tozero"
        }
    return {"data": traces, "layout": layout}


def _rmse_lines(evaluation: Evaluation, variable: str) -> list[dict[str, Any]]:
    colours = {"winner": STEP2, "incumbent": INCUMBENT}
    lines: list[tuple[str, list[float | None] | None, str, str]] = [
        (m.role, m.rmse.get(variable), colours[m.role], "solid") for m in evaluation.models
    ]
    lines.append(("persistence", evaluation.persistence[variable], REFERENCE, "dot"))
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "legendgroup": name,
            "x": evaluation.lead_hours,
            "y": row,
            "line": {"color": colour, "dash": dash},
            "hovertemplate": "%{y:.5g} after %{x} h",
        }
        for name, row, colour, dash in lines
        if row is not None
    ]


def _curve(row: Row) -> dict[str, Any]:
    colour = WINNER if row.winner else STEP1 if row.step == 1 else STEP2
    return {
        "type": "scatter",
        "mode": "lines+markers" if row.step != 1 or len(row.history) < 3 else "lines",
        "name": f"step {row.step}, trial {row.trial}",
        "x": [point.step for point in row.history],
        "y": [point.value for point in row.history],
        "line": {"color": colour, "width": 3 if row.winner else 1.2},
        "opacity": 0.55 if row.step == 1 else 1,
        "hovertemplate": f"step {row.step}, trial {row.trial}: %{{y:.6g}}<extra></extra>",
    }


def _points(
    name: str,
    colour: str,
    points: list[tuple[Any, Any]],
    hover: list[str],
    size: list[int] | int = 8,
    each: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "marker": {"color": each or colour, "size": size, "line": {"width": 1, "color": "#fff"}},
        "text": hover,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(row: Row, more: str = "") -> str:
    """Text of a point; values of a study are escaped because plotly reads some HTML."""
    params = "<br>".join(f"{html.escape(k)} = {html.escape(_short(v))}" for k, v in row.params.items())
    value = "" if row.value is None else f"{row.value:.6g}"
    return f"<b>step {row.step}, trial {row.trial}</b>: {value}<br>{more}{params}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:60]


def _plain(value: Any) -> Any:
    """Numbers stay numbers; anything else becomes an escaped category."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else html.escape(_short(value))


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": html.escape(title), "font": {"size": 12}},
        "gridcolor": "#e6e9ed",
        "zeroline": False,
        "linecolor": "#c3c9d0",
        "exponentformat": "power",
        "automargin": True,
    }


def _base() -> dict[str, Any]:
    return {
        "margin": {"l": 60, "r": 20, "t": 34, "b": 50},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#1f2933"},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"align": "left"},
    }


def _figure(traces: list[dict[str, Any]], x: str, y: str, **layout: Any) -> Figure:
    return {
        "data": traces,
        "layout": {**_base(), "xaxis": _axis(x), "yaxis": _axis(y), "height": 380, **layout},
    }


def _panels(count: int) -> dict[str, Any]:
    columns = min(3, count)
    rows = -(-count // columns)
    grid = {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.2, "ygap": 0.32}
    return {**_base(), "grid": grid, "height": 90 + 240 * rows}
