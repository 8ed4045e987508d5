"""Step 2 as a second, narrower search: the space between some trials, and new trials drawn from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_suite.config import relations
from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.study import sampling, space
from ml_suite.study.contract import SearchPlan

_APART = 10_000
"""Numbers between the trials of two narrower searches."""

_FIRST = 1000
"""Narrower search that the trials of step 1 would reach if there were ten million."""


def trials(plan: SearchPlan, between: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """New trials between some others, as many as `plan.choice.narrow`, with their numbers.

    Other candidates make another narrower space, whose trials have other numbers, far above those of step 1: a record
    never holds the result of one under the number of another.

    Raises
    ------
    StudyError
        If there is nothing between the others, or the constraints leave nothing.
    """
    narrower = between_them(space.parse(plan.space), between)
    written = json.dumps([dump(narrower), plan.constraints, plan.seed], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(written.encode()).digest()[:8], "big") % 200_000
    first = (_FIRST + number) * _APART
    ready = space.build(narrower, plan.constraints)
    wanted = plan.choice.narrow or 0
    return [(first + i, sampling.draw(ready, f"{plan.seed}/narrow", i)) for i in range(wanted)]


def place(trial: int) -> int | None:
    """Place of a trial in its narrower search, from 0; None for a trial of step 1.

    >>> place(12_340_003), place(3)
    (3, None)
    """
    return trial % _APART if trial >= _FIRST * _APART else None


def between_them(
    dimensions: Mapping[str, Dimension], between: Sequence[Mapping[str, Any]]
) -> dict[str, Dimension]:
    """Smallest space that has all of some trials: from the least to the greatest value, and the choices that occur.

    The values of a list count together. A hyperparameter that is inactive in all of them is left out.

    Raises
    ------
    StudyError
        If they are all the same.
    """
    found: dict[str, list[Any]] = {}
    for name, given in dimensions.items():
        values = [params[name] for params in between if name in params]
        found[name] = [v for value in values for v in value] if given.per is not None else values
    narrower: dict[str, Dimension] = {}
    for name, given in dimensions.items():
        if found[name]:
            range_ = _between(given, found[name])
            narrower[name] = given.model_copy(update={given.kind: range_, "when": _when(given, found)})
    # a list that is empty in all of them has no values to be between, nor will it need any
    for name, given in dimensions.items():
        if name not in narrower and any(name in params for params in between):
            narrower[name] = given.model_copy(update={"when": _when(given, found)})
    ordered = {name: narrower[name] for name in dimensions if name in narrower}
    if not any(_room(given) for given in ordered.values()):
        raise StudyError(
            f"there is nothing between the {len(between)} candidates: their hyperparameters are the same",
            "Raise hpo.step2.keep, or leave out hpo.step2.narrow.",
        )
    return ordered


def dump(dimensions: Mapping[str, Dimension]) -> dict[str, dict[str, Any]]:
    """Write a space as a plan holds it."""
    return {name: given.model_dump(mode="json", exclude_none=True) for name, given in dimensions.items()}


def _between(given: Dimension, values: Sequence[Any]) -> Any:
    if given.choice is not None:
        return [choice for choice in given.choice if any(relations.same(choice, v) for v in values)]
    return min(values), max(values)


def _when(given: Dimension, found: Mapping[str, list[Any]]) -> dict[str, Any] | None:
    """Conditions with the values that still occur."""
    if given.when is None:
        return None
    return {
        on: [v for v in relations.wanted(values) if any(relations.same(v, there) for there in found[on])]
        for on, values in given.when.items()
    }


def _room(given: Dimension) -> bool:
    if given.choice is not None:
        return len(given.choice) > 1
    low, high = getattr(given, given.kind)
    return bool(low < high)
