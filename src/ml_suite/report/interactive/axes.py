"""Axes, notes and numbers of a plot."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from ml_suite.report.figure import Axis, Panel
from ml_suite.report.scales import parts, ticks

Json = dict[str, Any]


def axis(shown: Axis) -> Json:
    """One axis: title, range, ticks."""
    made: Json = {"title": {"text": html.escape(shown.title)}}
    if shown.log:
        made["type"] = "log"
    if shown.range:
        low, high = (math.log10(v) for v in shown.range) if shown.log else shown.range
        made["range"] = numbers([low, high])
    if (marks := ticks(shown)) is not None:
        made["tickvals"] = numbers([v for v, _ in marks])
        made["ticktext"] = [_typeset(label) for _, label in marks]
    elif shown.percent:
        made |= {"tickformat": ".0%", "rangemode": "tozero"}
    return made


def _typeset(label: str) -> str:
    split = parts(label)
    if split is None:
        return html.escape(label)
    mantissa, exponent = split
    return f"{mantissa}·10<sup>{exponent}</sup>" if mantissa else f"10<sup>{exponent}</sup>"


def corner(text: str) -> Json:
    """Note in the upper left corner."""
    return {
        "xref": "paper",
        "yref": "paper",
        "x": 0.03,
        "y": 0.98,
        "xanchor": "left",
        "yanchor": "top",
        "align": "left",
        "showarrow": False,
        "text": html.escape(text).replace("\n", "<br>"),
        "bgcolor": "@veil",
    }


def label(panel: Panel, x: float, y: float, text: str) -> Json:
    """Text on the ground of a field; plotly wants logarithms on logarithmic axes."""
    return {
        "x": math.log10(x) if panel.x.log else x,
        "y": math.log10(y) if panel.y.log else y,
        "text": html.escape(text),
        "showarrow": False,
        "font": {"color": "#fff", "size": 12},
        "bgcolor": "rgba(0,20,50,0.55)",
        "borderpad": 1,
    }


def numbers(values: Sequence[float | None], digits: int = 6) -> list[float | int | None]:
    """Rounded, whole ones without a decimal point; what is not finite becomes a gap."""
    return [_number(v, digits) for v in values]


def _number(value: float | None, digits: int) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    if float(value).is_integer() and abs(value) < 1e15:
        return int(value)
    rounded = float(f"{value:.{digits}g}")
    return rounded if math.isfinite(rounded) else None
