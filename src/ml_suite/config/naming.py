"""Anemoi's naming convention for datasets, and which part of a name breaks it.

::

    gridded        purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-vN[-more]
    trajectories   purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-STEP-vN[-more]
    tabular        purpose-content-source[-resolution]-YYYY-YYYY-vN[-more]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CONVENTION = "purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-vN"
EXAMPLE = "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1"

_RESOLUTION = re.compile(r"[0-9ron]\w*")
_FREQUENCY = re.compile(r"\d+[hm]")
_YEAR = re.compile(r"\d{4}")
_VERSION = re.compile(r"v\d+")


@dataclass(frozen=True)
class DatasetName:
    """The parts of a name that say something about the data."""

    first: int
    """Year of the first date."""
    last: int
    frequencies: tuple[str, ...]
    """None for tabular data, two for trajectories."""


def parse(name: str) -> DatasetName:
    """Take a dataset's name apart.

    >>> parse("aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1")
    DatasetName(first=1979, last=2024, frequencies=('6h',))

    Raises
    ------
    ValueError
        Saying which part breaks the convention.
    """
    if strange := sorted(set(re.findall(r"[^a-z0-9-]", name)), key=name.index):
        raise ValueError(f"only a-z, 0-9 and '-' are allowed, not {', '.join(map(repr, strange))}")
    words = name.split("-")
    if "" in words:
        raise ValueError("there is an empty part: '-' at an end, or twice in a row")
    years = _years(words)
    version = _version(words, years + 2)
    frequencies = tuple(words[years + 2 : version])
    _check_frequencies(frequencies)
    _check_start(words[:years], gridded=bool(frequencies))
    first, last = int(words[years]), int(words[years + 1])
    if first > last:
        raise ValueError(f"it ends in {last}, before it starts in {first}")
    return DatasetName(first, last, frequencies)


def _years(words: list[str]) -> int:
    """Position of the first of two years; the last pair that a version follows, for content may have digits too."""
    pairs = [i for i in range(len(words) - 1) if _YEAR.fullmatch(words[i]) and _YEAR.fullmatch(words[i + 1])]
    if not pairs:
        raise ValueError("two years in a row are missing, such as 1979-2024")
    versioned = [i for i in pairs if any(_VERSION.fullmatch(word) for word in words[i + 2 :])]
    return (versioned or pairs)[-1]


def _version(words: list[str], start: int) -> int:
    for i in range(start, len(words)):
        if _VERSION.fullmatch(words[i]):
            return i
    raise ValueError("the version is missing behind the years: v1")


def _check_frequencies(frequencies: tuple[str, ...]) -> None:
    for word in frequencies:
        if not _FREQUENCY.fullmatch(word):
            raise ValueError(f"'{word}' is no frequency; write hours or minutes: 6h, 30m")
    if len(frequencies) > 2:
        raise ValueError("at most two frequencies stand between the years and the version")


def _check_start(words: list[str], gridded: bool) -> None:
    if len(words) < (4 if gridded else 3):
        parts = "purpose-content-source-resolution" if gridded else "purpose-content-source"
        raise ValueError(f"before the years there must be {parts}, not '{'-'.join(words)}'")
    if gridded and not _RESOLUTION.fullmatch(words[-1]):
        raise ValueError(
            f"'{words[-1]}' is no resolution; it starts with a digit, o, n or r: o96, n320, 1p25"
        )
