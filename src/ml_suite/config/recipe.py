"""What can be known of an Anemoi recipe by reading it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ml_suite import quantities
from ml_suite.config import naming
from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import Finding, Severity
from ml_suite.config.source import Keys, Source

FILE_SOURCES = ("netcdf", "grib", "csv", "odb")
"""Anemoi sources that read files named by `path`."""


@dataclass(frozen=True)
class Dates:
    """Dates that a recipe asks for, both ends included."""

    start: datetime
    end: datetime
    frequency: timedelta

    @property
    def count(self) -> int:
        """How many, missing ones included."""
        return (self.end - self.start) // self.frequency + 1

    def groups(self, by: Any) -> int | None:
        """How many groups `anemoi-datasets` loads the dates in; None when it cannot be told from here."""
        if isinstance(by, int) and by > 0:
            return math.ceil(self.count / by)
        months = (self.end.year - self.start.year) * 12 + self.end.month - self.start.month + 1
        counts = {
            "monthly": months,
            "daily": (self.end.date() - self.start.date()).days + 1,
            "yearly": self.end.year - self.start.year + 1,
        }
        return min(counts[by], self.count) if by in counts else None


def dates(recipe: Source) -> Dates | None:
    """Dates of a recipe; None when they are written in a way that only Anemoi understands."""
    given = recipe.data.get("dates") if isinstance(recipe.data, dict) else None
    if not isinstance(given, dict):
        return None
    try:
        frequency = quantities.duration(given.get("frequency", "1h"))
        start, end = (datetime.fromisoformat(str(given[key])) for key in ("start", "end"))
        return Dates(start, end, frequency) if frequency > timedelta(0) and end >= start else None
    except (KeyError, ValueError, TypeError):
        return None


def check(recipe: Source, deployment: Deployment, source: Source, sources: Path | None) -> Iterator[Finding]:
    """Compare a recipe with its name, the deployment and the files that it reads.

    Parameters
    ----------
    source
        The deployment file.
    sources
        Folder of the files that the recipe names with relative paths; None when it is on another machine.
    """
    if not isinstance(recipe.data, dict) or "input" not in recipe.data or "dates" not in recipe.data:
        hint = "a recipe has `dates` and `input`; see anemoi-datasets"
        yield recipe.finding(Severity.ERROR, (), "this is no recipe of a dataset", hint)
        return
    yield from (f for f in recipe.findings if f.severity is Severity.ERROR)
    yield from _name(recipe, deployment, source)
    found = dates(recipe)
    groups = found.groups(recipe.data.get("build", {}).get("group_by", "monthly")) if found else None
    if groups is not None and deployment.dataset.parts > groups:
        message = f"{deployment.dataset.parts} load tasks cannot share {groups} groups of dates"
        hint = f"write at most {groups}, or a smaller build.group_by in the recipe"
        yield source.finding(Severity.ERROR, ("dataset", "parts"), message, hint)
    if sources is not None:
        yield from _files(recipe, sources)


def _name(recipe: Source, deployment: Deployment, source: Source) -> Iterator[Finding]:
    where: Keys = ("dataset", "recipe")
    name = deployment.dataset_name
    try:
        parts = naming.parse(name)
    except ValueError as error:
        message = f"'{name}' does not follow the naming convention: {error}"
        hint = f"{naming.CONVENTION}, for example {naming.EXAMPLE}"
        yield source.finding(Severity.ERROR, where, message, hint)
        return
    found = dates(recipe)
    if found is None:
        return
    for word, year, date in (("starts", parts.first, found.start), ("ends", parts.last, found.end)):
        if year != date.year:
            message = f"the dataset's name says that it {word} in {year}, the recipe says {date.year}"
            yield source.finding(Severity.ERROR, where, message, "rename the recipe, or change its dates")
    if parts.frequencies and quantities.duration(parts.frequencies[0]) != found.frequency:
        has = quantities.format_duration(found.frequency)
        message = f"the dataset's name says {parts.frequencies[0]}, the recipe has a frequency of {has}"
        yield source.finding(Severity.ERROR, where, message, "rename the recipe, or change its frequency")


def _files(recipe: Source, sources: Path) -> Iterator[Finding]:
    for where, text in _paths(recipe.data, ()):
        path = sources / Path(text).expanduser()
        fixed = _fixed_part(path)
        if not fixed.exists():
            message = f"there is no {'file' if fixed == path else 'folder'} {fixed}"
            hint = "put it there, or change dataset.sources in the deployment"
            yield recipe.finding(Severity.ERROR, where, message, hint)


def _paths(node: Any, at: Keys) -> Iterator[tuple[Keys, str]]:
    """Paths of all file sources, addresses on the network left out."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in FILE_SOURCES and isinstance(value, dict) and "path" in value:
                given = value["path"]
                for text in given if isinstance(given, list) else [given]:
                    if isinstance(text, str) and "://" not in text and "${" not in text:
                        yield (*at, key, "path"), text
            yield from _paths(value, (*at, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _paths(value, (*at, i))


def _fixed_part(path: Path) -> Path:
    """PATH up to its first part with a pattern."""
    parts = path.parts
    for i, part in enumerate(parts):
        if re.search(r"[*?\[{]", part):
            return Path(*parts[:i])
    return path
