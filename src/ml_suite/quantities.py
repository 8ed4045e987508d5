"""Quantities with units: parse what a person wrote, print it back the same way.

>>> duration("12h")
datetime.timedelta(seconds=43200)
>>> fraction("5%")
0.05
>>> gpu_hours("3000 GPUh")
3000.0
>>> format_bytes(1_500_000)
'1.4 MiB'
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def duration(text: object) -> timedelta:
    """Parse a duration such as ``90s``, ``30m``, ``12h``, ``1d`` or ``2h30m``.

    Raises
    ------
    ValueError
        If the unit is missing or unknown.
    """
    if isinstance(text, timedelta):
        return text
    parts = re.findall(r"(\d+)\s*([smhdw])", text) if isinstance(text, str) else []
    if not isinstance(text, str) or not re.fullmatch(r"(\s*\d+\s*[smhdw])+\s*", text):
        raise ValueError("write a duration as a number and a unit: 30m, 12h, 1d")
    try:
        return timedelta(seconds=sum(int(n) * _SECONDS[unit] for n, unit in parts))
    except OverflowError as error:
        raise ValueError("this duration is longer than a calendar") from error


def format_duration(value: timedelta) -> str:
    """Write a duration so that `duration` reads it back.

    >>> format_duration(timedelta(hours=2, minutes=30))
    '2h30m'
    """
    rest = int(value.total_seconds())
    words = []
    for unit in ("d", "h", "m", "s"):
        n, rest = divmod(rest, _SECONDS[unit])
        if n:
            words.append(f"{n}{unit}")
    return "".join(words) or "0s"


def fraction(text: object) -> float:
    """Parse a share written as a percentage, ``5%`` or ``0.5%``; the result is in (0, 1].

    Raises
    ------
    ValueError
        If there is no percent sign or the share is outside (0, 100] %.
    """
    if isinstance(text, str) and (m := re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*%", text.strip())):
        value = float(m[1]) / 100
        if 0 < value <= 1:
            return value
        raise ValueError("a share lies above 0% and is at most 100%")
    raise ValueError("write a share as a percentage: 5%, 0.5%")


def format_fraction(value: float) -> str:
    """Write a share so that `fraction` reads it back.

    >>> format_fraction(0.05)
    '5%'
    """
    return f"{value * 100:.10g}%"


def part_of(count: int, share: float) -> int:
    """How many of some a share is, rounded up.

    >>> part_of(9, 0.5), part_of(30, 0.1)
    (5, 3)
    """
    # a share such as 0.1 is not exact in binary: 0.1 * 30 is a little more than 3
    return math.ceil(round(share * count, 9))


def gpu_hours(text: object) -> float:
    """Parse an amount of GPU time, ``3000 GPUh``.

    Raises
    ------
    ValueError
        If the unit is missing.
    """
    if isinstance(text, str) and (m := re.fullmatch(r"(\d+(?:\.\d+)?)\s*GPUh", text.strip())):
        value = float(m[1])
        if math.isfinite(value):
            return value
    raise ValueError("write GPU time as a number and the unit GPUh: 3000 GPUh")


def format_gpu_hours(value: float) -> str:
    """Write GPU time so that `gpu_hours` reads it back.

    >>> format_gpu_hours(3000.0)
    '3000 GPUh'
    """
    return f"{value:.10g} GPUh"


def format_bytes(value: float) -> str:
    """Write a number of bytes for a person, in binary units."""
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
