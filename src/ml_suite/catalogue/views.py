"""What the pages show of a record: plain values, no HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ml_suite.catalogue.records import Record, dump
from ml_suite.quantities import format_bytes

TABS = {
    "datasets": ("overview", "recipe", "variables", "locations", "statistics", "lineage", "debug"),
    "weights": ("overview", "locations", "lineage", "debug"),
    "trainings": ("overview", "lineage", "debug"),
    "experiments": ("overview", "lineage", "debug"),
    "evaluations": ("overview", "lineage", "debug"),
    "models": ("overview", "lineage", "debug"),
    "tasks": ("overview", "debug"),
}
_TICKS = 400
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Fact:
    """A name and what is said about it."""

    name: str
    value: str


@dataclass(frozen=True)
class Variable:
    """One variable of a dataset."""

    name: str
    kind: str
    """Computed, constant or varying in time."""
    units: str
    request: str


@dataclass(frozen=True)
class Statistic:
    """Statistics of one variable; the bar is in percent of the range from minimum to maximum."""

    name: str
    mean: str
    stdev: str
    minimum: str
    maximum: str
    left: float
    width: float
    middle: float


@dataclass(frozen=True)
class Coverage:
    """Dates of a dataset, places in percent of the period."""

    start: str
    end: str
    dates: int
    missing: int
    gaps: list[float]
    width: float
    """Of one date."""


def dataset_facts(record: Record) -> list[Fact]:
    """What one wants to know first of a dataset."""
    metadata = record.get("metadata", {})
    shape, names = metadata.get("shape"), metadata.get("dimensions")
    size = metadata.get("total_size")
    pairs = [
        ("Dates", f"{metadata.get('start_date', '?')} to {metadata.get('end_date', '?')}"),
        ("Frequency", metadata.get("frequency")),
        ("Resolution", metadata.get("resolution")),
        ("Shape", _shape(shape, names)),
        ("Grid", _times(metadata.get("field_shape"))),
        ("Type", metadata.get("dtype")),
        ("Chunks", _times(metadata.get("chunks"))),
        ("Size", format_bytes(size) if isinstance(size, int | float) else None),
        ("Files", metadata.get("total_number_of_files")),
        ("NaN allowed", {True: "yes", False: "no"}.get(metadata.get("allow_nans"))),
        ("Statistics of", _period(metadata)),
        ("Licence", metadata.get("licence")),
        ("Attribution", metadata.get("attribution")),
        ("Owner", record.get("owner")),
        ("uuid", metadata.get("uuid")),
        ("Made with", _versions(metadata.get("provenance_load"))),
    ]
    return [Fact(name, str(value)) for name, value in pairs if value not in (None, "")]


def facts(record: Record, key: str) -> tuple[list[Fact], list[Fact]]:
    """Scalars of any record, and its larger members as indented JSON."""
    small, large = [], []
    metadata = record.get("metadata")
    members = [(name, value) for name, value in record.items() if name not in (key, "metadata")]
    for name, value in [*members, *(metadata.items() if isinstance(metadata, dict) else ())]:
        if isinstance(value, dict | list) and len(dump(value)) > 120:
            large.append(Fact(name, indented(value)))
        elif value not in (None, "", {}, []):
            shown = format_bytes(value) if name == "size" and isinstance(value, int) else value
            small.append(Fact(name, shown if isinstance(shown, str) else dump(shown)))
    return small, large


def variables(record: Record) -> list[Variable]:
    """Variables of a dataset in their order."""
    metadata = record.get("metadata", {})
    described = _mapping(metadata.get("variables_metadata"))
    constant = set(map(str, _list(metadata.get("constant_fields"))))
    found = []
    for name in map(str, _list(metadata.get("variables"))):
        about = _mapping(described.get(name))
        request = _mapping(about.get("mars"))
        kind = "computed" if about.get("computed_forcing") else "field"
        if name in constant or about.get("constant_in_time"):
            kind += ", constant"
        words = [
            f"{k}={request[k]}" for k in ("param", "levtype", "levelist", "level", "step") if k in request
        ]
        units = about.get("units") or request.get("units") or ""
        found.append(Variable(name, kind, str(units), " ".join(words)))
    return found


def statistics(record: Record) -> list[Statistic]:
    """Statistics of a dataset, one row per variable."""
    metadata = record.get("metadata", {})
    table = _mapping(metadata.get("statistics"))
    columns = [_list(table.get(name)) for name in ("mean", "stdev", "minimum", "maximum")]
    rows = zip(map(str, _list(metadata.get("variables"))), *columns, strict=False)
    return [_statistic(name, *(_number(v) for v in values)) for name, *values in rows]


def _statistic(name: str, mean: float, stdev: float, low: float, high: float) -> Statistic:
    span = high - low
    known = math.isfinite(span) and span > 0 and math.isfinite(mean) and math.isfinite(stdev)

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - low) / span)), 2) if known else 0.0

    left = place(mean - stdev)
    shown = [f"{value:.6g}" for value in (mean, stdev, low, high)]
    width = round(place(mean + stdev) - left, 2)
    return Statistic(name, shown[0], shown[1], shown[2], shown[3], left, width, place(mean))


def coverage(record: Record) -> Coverage | None:
    """Dates and gaps, or None when the record does not say."""
    metadata = record.get("metadata", {})
    try:
        start = datetime.fromisoformat(metadata["start_date"])
        end = datetime.fromisoformat(metadata["end_date"])
        step = _step(metadata["frequency"])
        gone = sorted({datetime.fromisoformat(date) for date in _list(metadata.get("missing_dates"))})
        dates = int((end - start) / step) + 1
        places = [round(100 * ((date - start) / step) / dates, 3) for date in gone[:_TICKS]]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (
        Coverage(str(start), str(end), dates, len(gone), places, max(100 / dates, 0.15))
        if dates > 0
        else None
    )


def locations(record: Record) -> list[Fact]:
    """Platforms and paths."""
    places = _mapping(record.get("locations"))
    return [Fact(name, str(_mapping(place).get("path", dump(place)))) for name, place in places.items()]


def line(collection: str, record: Record) -> str:
    """One line about an entry, for lists."""
    metadata = _mapping(record.get("metadata"))
    if collection == "tasks":
        route = " to ".join(str(record[end]) for end in ("source", "destination") if record.get(end))
        return " ".join(str(part) for part in (record.get("action"), record.get("dataset"), route) if part)
    if isinstance(description := metadata.get("description"), str):
        return description.strip()
    names = ("run_id", "timestamp", "user", "parent")
    return ", ".join(f"{name} {metadata[name]}" for name in names if metadata.get(name))


def progress(record: Record) -> int | None:
    """Percentage of a task; the client's command line and its worker spell it differently."""
    found = _mapping(record.get("progress"))
    value = found.get("percentage", found.get("percent"))
    return round(value) if isinstance(value, int | float) else None


def indented(value: Any) -> str:
    """JSON for a person."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def yaml(value: Any) -> str:
    """YAML as a person wrote the recipe."""
    from io import StringIO

    from ruamel.yaml import YAML

    writer, out = YAML(), StringIO()
    writer.default_flow_style = False
    writer.width = 110
    writer.dump(value, out)
    return out.getvalue()


def _step(frequency: Any) -> timedelta:
    if isinstance(frequency, int):
        return timedelta(hours=frequency)
    found = re.fullmatch(r"(\d+)([smhd])", str(frequency))
    if not found:
        raise ValueError(frequency)
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _number(value: Any) -> float:
    try:
        return float(value)  # the client writes "nan" and "inf" as texts
    except (TypeError, ValueError):
        return math.nan


def _times(value: Any) -> str | None:
    return " \u00d7 ".join(map(str, value)) if isinstance(value, list) and value else None


def _shape(shape: Any, names: Any) -> str | None:
    if isinstance(shape, list) and isinstance(names, list) and len(shape) == len(names):
        return " \u00d7 ".join(f"{size} {name}" for size, name in zip(shape, names, strict=True))
    return _times(shape)


def _period(metadata: Record) -> str | None:
    start, end = metadata.get("statistics_start_date"), metadata.get("statistics_end_date")
    return f"{start} to {end}" if start and end else None


def _versions(provenance: Any) -> str:
    modules = _mapping(_mapping(provenance).get("module_versions"))

    def words() -> Iterator[str]:
        for name in sorted(modules):
            if name.startswith("anemoi"):
                version = modules[name]
                yield f"{name} {version.get('version', '?') if isinstance(version, dict) else version}"

    return ", ".join(words())


def _mapping(value: Any) -> Record:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
