"""Axes that suit their values: logarithmic or not, range and ticks; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import quantiles

from ml_suite.report.figure import Axis

DECADES = 1.0
"""Positive values that span more powers of ten than this get a logarithmic axis."""
LARGEST = 307
"""Power of ten that a floating-point number still holds."""
FAR = 8.0
"""Values further from the quartiles than so many times the distance between them are left outside a linear axis."""


def value_axis(
    title: str, values: Iterable[float | None], log: bool | None = None, whole: bool = False
) -> Axis:
    """Axis for measured values.

    Parameters
    ----------
    log
        None: decided by the span of the values. Where they are not positive, or the greatest is less than twice the
        least, the axis is linear whatever is asked for.
    whole
        Show every value, even one that makes the others hard to tell apart.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    positive = bool(known) and min(known) > 0
    if log is None:
        log = positive and math.log10(max(known) / min(known)) > DECADES
    log = log and positive and max(known) >= 2 * min(known)
    if not known:
        return Axis(title)
    low, high = (min(known), max(known)) if log or whole else _without_outliers(known)
    return Axis(title, log, widened(low, high, log))


def count_axis(title: str, values: Sequence[float], log: bool = False) -> Axis:
    """Axis for whole numbers, such as ranks and epochs."""
    axis = value_axis(title, values, log)
    low, high = int(min(values)), int(max(values))
    if axis.log or high - low > 30 or low == high:
        return axis
    return Axis(title, range=widened(low, high, False), ticks=whole_ticks(low, high))


def widened(low: float, high: float, log: bool, margin: float = 0.05) -> tuple[float, float]:
    """Range with room for marks at its ends."""
    if log:
        a, b = math.log10(low), math.log10(high)
        room = (b - a) * margin or 0.2
        return 10 ** max(a - room, -LARGEST), 10 ** min(b + room, LARGEST)
    room = (high - low) * margin or abs(high) * 0.1 or 0.5
    return low - room, high + room


def _without_outliers(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 8:
        return min(values), max(values)
    lower, _, upper = quantiles(values, n=4)
    room = FAR * ((upper - lower) or abs(upper) or 1.0)
    inside = [v for v in values if lower - room <= v <= upper + room]
    return min(inside), max(inside)


def ticks(axis: Axis) -> list[tuple[float, str]] | None:
    """Positions and labels of a logarithmic or categorical axis; None where any plotting library does well.

    Labels with an exponent are written ``2e-4`` with a real minus sign; `parts` splits them for typesetting.
    """
    if axis.ticks:
        return list(axis.ticks)
    if not axis.log or axis.range is None:
        return None
    low, high = axis.range
    found = _positions(low, high)
    if axis.percent:
        return [(v, f"{v * 100:.4g} %") for v in found]
    plain = all(1e-3 <= v < 1e5 for v in found)
    return [(v, _plain(v) if plain else _power(v)) for v in found]


def whole_ticks(low: int, high: int) -> tuple[tuple[float, str], ...]:
    """Ticks at whole numbers, twelve at most."""
    step = -(-(high - low + 1) // 12)
    first = low if step == 1 else -(-low // step) * step
    return tuple((float(n), str(n)) for n in range(first, high + 1, step))


def _positions(low: float, high: float) -> list[float]:
    """Powers of ten where the axis is long, more between them where it is short."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        every = [m * 10.0**e for e in range(first, last + 1) for m in mantissas]
        inside = [float(f"{v:.6g}") for v in every if low <= v <= high]
        if len(inside) >= (4 if len(mantissas) == 1 else 3):
            break
    return inside[:: math.ceil(len(inside) / 8)] if len(mantissas) == 1 else inside


def _plain(value: float) -> str:
    return f"{value:,.6g}" if value >= 1e4 else f"{value:.6g}"


def _power(value: float) -> str:
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def parts(label: str) -> tuple[str, str] | None:
    """Mantissa and exponent of a label with an exponent; the mantissa is empty when it is 1.

    >>> parts("2e4"), parts("1e3"), parts("0.05")
    (('2', '4'), ('', '3'), None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)e(-?\d+)", label)
    if found is None:
        return None
    mantissa, exponent = found.groups()
    return ("" if mantissa == "1" else mantissa), exponent.replace("-", "\N{MINUS SIGN}")
