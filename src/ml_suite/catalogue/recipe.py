"""Where a recipe takes its data from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_GROUPS = ("join", "concat", "function")
_COMPUTED = ("forcings", "constants", "empty", "repeated-dates")
_PLACE = ("path", "url", "dataset", "name")
_REQUEST = ("class", "stream", "type", "expver", "levtype")


@dataclass(frozen=True)
class Source:
    """One input of a recipe."""

    type: str
    """Anemoi's name of the source: mars, grib, netcdf, anemoi-dataset."""
    place: str
    """Path, address or the beginning of the request."""


def sources(recipe: Any) -> list[Source]:
    """Data sources of a recipe, each once; what is computed from dates and places is left out."""
    return list(dict.fromkeys(_walk(recipe.get("input") if isinstance(recipe, dict) else None)))


def _walk(tree: Any) -> Iterator[Source]:
    if isinstance(tree, list):
        for item in tree:
            yield from _walk(item)
        return
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        kind = str(name).replace("_", "-")
        if kind == "pipe" and isinstance(value, list):
            yield from _walk(value[:1])  # the rest are filters
        elif kind in _GROUPS:
            yield from _walk(value)
        elif kind == "dates":
            continue
        elif isinstance(value, list):
            yield from _walk(value)
        elif isinstance(value, dict) and kind not in _COMPUTED:
            yield Source(kind, _place(value))


def _place(arguments: dict[str, Any]) -> str:
    for name in _PLACE:
        if isinstance(place := arguments.get(name), str | list):
            return place if isinstance(place, str) else ", ".join(map(str, place))
    return " ".join(str(arguments[name]) for name in _REQUEST if name in arguments)
