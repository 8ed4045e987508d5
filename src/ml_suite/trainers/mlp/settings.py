"""What trainer ``mlp`` understands: hyperparameters and settings, and what a network costs; needs no torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError

Width = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """A network and how it is trained; the defaults are those of Keras."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layers: Annotated[int, Field(gt=0)] | None = None
    """Hidden layers; may be left out when `units` is a list."""
    units: Width | Annotated[list[Width], Field(min_length=1)]
    """Width of all hidden layers, or of each."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    batch: Annotated[int, Field(gt=0)] = 1024
    """Samples of an optimiser step; the last one of an epoch may be smaller."""
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-7
    """Of Adam."""
    output: Literal["sigmoid", "linear"] = "sigmoid"
    """Last activation; sigmoid is for targets between 0 and 1."""

    @model_validator(mode="after")
    def _one_depth(self) -> Self:
        if isinstance(self.units, int):
            if self.layers is None:
                raise ValueError("layers is missing: units is one width, so their number is needed")
        elif self.layers is not None and self.layers != len(self.units):
            raise ValueError(f"units has {len(self.units)} widths for {self.layers} layers")
        return self

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        if isinstance(self.units, int):
            return (self.units,) * (self.layers or 1)
        return tuple(self.units)


@dataclass(frozen=True)
class Problem:
    """What does not fit between a study and this trainer."""

    key: str
    """Hyperparameter or setting."""
    message: str
    hint: str = ""


def parse(params: Mapping[str, Any], settings: Mapping[str, Any]) -> Settings:
    """Read a trial's hyperparameters; they go before settings of the same name.

    Raises
    ------
    StudyError
        If a name is unknown or a value is not possible.
    """
    given = {**settings, **params}
    if "units" in params and isinstance(params["units"], list) and "layers" not in params:
        given.pop("layers", None)  # the setting is of networks of one width
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        raise StudyError(f"trainer mlp: {key + ': ' if key else ''}{_told(first)}", _known(key)) from error


def check(space: Mapping[str, Dimension], settings: Mapping[str, Any]) -> list[Problem]:
    """Compare a search space and the settings of all trials with what this trainer understands."""
    problems = [
        Problem(key, f"trainer mlp has no hyperparameter {key!r}", _known(key))
        for key in (*space, *settings)
        if key not in Settings.model_fields
    ]
    for key, values in _stated(space, settings):
        problems += _values(key, values)
    return problems + (_depth(space, settings) if not problems else [])


def _stated(
    space: Mapping[str, Dimension], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Iterable[Any]]]:
    for key, dimension in space.items():
        if key in Settings.model_fields:
            yield (
                key,
                dimension.choice if dimension.choice is not None else getattr(dimension, dimension.kind),
            )
    for key, value in settings.items():
        if key in Settings.model_fields:
            yield key, [value]


def _values(key: str, values: Iterable[Any]) -> list[Problem]:
    """First value of a name that is not possible."""
    for value in values:
        network = {"layers": None, "units": [1]} | {key: value}
        if key == "layers":
            network["units"] = 1
        elif key == "units" and not isinstance(value, list):
            network["layers"] = 1
        try:
            Settings.model_validate(network)
        except ValidationError as error:
            return [Problem(key, f"{key} cannot be {value!r}: {_told(error.errors()[0])}")]
    return []


def _depth(space: Mapping[str, Dimension], settings: Mapping[str, Any]) -> list[Problem]:
    """Whether the number of widths is always that of the layers."""
    units, layers = space.get("units"), "layers" in space or "layers" in settings
    if units is None and "units" not in settings:
        return [Problem("units", "no width of the hidden layers is given", "write units, per: layers")]
    if units is not None and units.per is not None:
        wrong = units.per != "layers"
        return [Problem("units", f"per: {units.per} is not the number of layers")] if wrong else []
    widths = (
        [settings["units"]]
        if units is None
        else list(units.choice or getattr(units, units.kind if units.kind != "choice" else "int") or [])
    )
    lists = [w for w in widths if isinstance(w, list)]
    if len(lists) < len(widths) and not layers:
        return [Problem("layers", "no number of hidden layers is given", "write layers")]
    if lists and "layers" in space:
        hint = "write units with per: layers, or leave layers out"
        return [Problem("units", "lists of widths do not follow the number of layers", hint)]
    return []


def _known(key: str) -> str:
    near = difflib.get_close_matches(key, Settings.model_fields, 1)
    names = ", ".join(Settings.model_fields)
    return f"did you mean {near[0]!r}?" if near and near[0] != key else f"it has {names}"


def _told(error: Any) -> str:
    words = str(error["msg"]).removeprefix("Value error, ")
    return words[0].lower() + words[1:]


def sizes(settings: Settings, inputs: int, outputs: int) -> tuple[int, ...]:
    """Widths from the inputs to the outputs."""
    return (inputs, *settings.hidden, outputs)


def parameters(widths: Sequence[int]) -> int:
    """Trainable parameters of a network with these widths, inputs and outputs among them.

    >>> parameters((16, 8, 4))
    172
    """
    return sum((a + 1) * b for a, b in pairwise(widths))


def flops(widths: Sequence[int], training: int, validation: int) -> int:
    """Floating-point operations of the matrix products of one epoch.

    Parameters
    ----------
    training, validation
        Samples.
    """
    products = sum(a * b for a, b in pairwise(widths))
    return (6 * products - 2 * widths[0] * widths[1]) * training + 2 * products * validation


def steps(samples: int, batch: int) -> int:
    """Optimiser steps of an epoch."""
    return math.ceil(samples / batch)
