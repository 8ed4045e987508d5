"""The hyperparameter space in Optuna's words: one parameter for each value, those of a list as ``units[0]``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ml_suite.config.hpo import Dimension
from ml_suite.study.space import DIGITS, Part, Space

Distribution = Any
"""One of ``optuna.distributions``."""

_PLAIN = (bool, int, float, str, type(None))


def of(given: Dimension) -> Distribution:
    """Distribution of one value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if given.choice is not None:
        return CategoricalDistribution(list(labels(given.choice)))
    if given.int is not None:
        return IntDistribution(*given.int)
    if given.log is not None:
        return FloatDistribution(*given.log, log=True)
    assert given.float is not None
    return FloatDistribution(*given.float)


def labels(choice: list[Any]) -> list[Any]:
    """Return what stands for the values of a choice.

    Optuna takes plain values alone and does not tell 1 from true; where there are others each is written as JSON.

    >>> labels([8, 16]), labels([[8, 8], [16]]), labels([1, True])
    ([8, 16], ['[8, 8]', '[16]'], ['1', 'true'])
    """
    plain = all(isinstance(value, _PLAIN) for value in choice)
    if plain and all(a != b for i, a in enumerate(choice) for b in choice[:i]):
        return list(choice)
    return [json.dumps(value) for value in choice]


def flat(space: Space, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Distribution]]:
    """Hyperparameters of a trial as Optuna's parameters and their distributions; inactive ones are in neither.

    A value that the space does not have is left out.
    """
    found: dict[str, Any] = {}
    distributions: dict[str, Distribution] = {}
    for part in space.parts:
        if part.name not in values:
            continue
        distribution = of(part.given)
        given = values[part.name]
        for key, value in zip(part.keys, given if part.given.per is not None else [given], strict=False):
            label = _label(part.given, value)
            if _contains(distribution, label):
                found[key], distributions[key] = label, distribution
    return found, distributions


def nested(space: Space, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Hyperparameters of a trial from Optuna's parameters.

    Returns
    -------
    dict or None
        None where one is missing, none of the space, or a constraint does not hold.
    """
    values: dict[str, Any] = {}
    used: set[str] = set()
    for part in space.parts:
        if (count := part.count(values)) is None:
            continue
        keys = part.keys[:count] if part.given.per is not None else part.keys
        distribution = of(part.given)
        if any(key not in found or not _contains(distribution, found[key]) for key in keys):
            return None
        used.update(keys)
        each = [value_of(part.given, found[key]) for key in keys]
        values[part.name] = each if part.given.per is not None else each[0]
    if set(found) - used or not space.allows(values):
        return None
    return {name: values[name] for name in space.dimensions if name in values}


def gathered(space: Space, found: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters of a trial from Optuna's parameters as far as they go."""
    values: dict[str, Any] = {}
    for name, given in space.dimensions.items():
        part = next(part for part in space.parts if part.name == name)
        keys = [key for key in part.keys if key in found]
        each = [value_of(given, found[key]) for key in keys]
        if given.per is not None and (keys or values.get(given.per) == 0):
            values[name] = each
        elif keys:
            values[name] = each[0]
    return values


def inside(space: Space, values: Mapping[str, Any]) -> bool:
    """Tell whether a trial could have been drawn from a space."""
    again = nested(space, flat(space, values)[0])
    return again is not None and again == dict(values)


def ask(space: Space, trial: Any) -> dict[str, Any]:
    """Hyperparameters that Optuna suggests for a trial; a constraint need not hold."""
    values: dict[str, Any] = {}
    for part in space.parts:
        if (count := part.count(values)) is None:
            continue
        if part.given.per is None:
            values[part.name] = _suggested(part, part.name, trial)
        else:
            values[part.name] = [_suggested(part, key, trial) for key in part.keys[:count]]
    return {name: values[name] for name in space.dimensions if name in values}


def _suggested(part: Part, key: str, trial: Any) -> Any:
    given = part.given
    if given.choice is not None:
        return value_of(given, trial.suggest_categorical(key, labels(given.choice)))
    if given.int is not None:
        return int(trial.suggest_int(key, *given.int))
    ends = given.log or given.float
    assert ends is not None
    drawn = trial.suggest_float(key, *ends, log=given.log is not None)
    return min(max(float(f"{drawn:.{DIGITS}g}"), ends[0]), ends[1])


def value_of(given: Dimension, label: Any) -> Any:
    """Return the value that a label or number of Optuna stands for."""
    if given.choice is not None:
        return given.choice[labels(given.choice).index(label)]
    return int(label) if given.int is not None else float(label)


def _label(given: Dimension, value: Any) -> Any:
    if given.choice is None or value not in given.choice:
        return value
    told = labels(given.choice)
    return value if told == given.choice else json.dumps(value)


def _contains(distribution: Distribution, label: Any) -> bool:
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return any(label == choice and type(label) is type(choice) for choice in distribution.choices)
    if isinstance(label, bool) or not isinstance(label, int | float):
        return False
    return bool(distribution._contains(distribution.to_internal_repr(label)))
