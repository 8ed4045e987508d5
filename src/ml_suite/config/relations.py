"""What the hyperparameters of a space say of each other: how many values one has, and when it is there at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ml_suite.config.findings import Problem
from ml_suite.config.hpo import Dimension
from ml_suite.config.wording import nearest

MOST = 1000
"""Values of one hyperparameter in one trial."""


def order(dimensions: Mapping[str, Dimension]) -> list[str]:
    """Names so that each comes after those that it depends on; otherwise in the order of the space.

    Raises
    ------
    graphlib.CycleError
        If they depend on each other in a circle.
    """
    needs = {name: [on for on in depends(given) if on in dimensions] for name, given in dimensions.items()}
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    found: list[str] = []
    ready: list[str] = []
    rank = {name: i for i, name in enumerate(dimensions)}
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=rank.__getitem__)
        name, *ready = ready
        found.append(name)
        sorter.done(name)
    return found


def depends(given: Dimension) -> list[str]:
    """Names of the hyperparameters that one depends on."""
    return list(dict.fromkeys([*([given.per] if given.per else []), *(given.when or {})]))


def same(a: Any, b: Any) -> bool:
    """Equal as a person sees it: 2 is 2.0, and true is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def wanted(values: Any) -> list[Any]:
    """Values of a condition: one, or a list of them."""
    return values if isinstance(values, list) else [values]


def problems(
    dimensions: Mapping[str, Dimension], known: Mapping[str, Any] | None = None
) -> Iterator[Problem]:
    """Everything that cannot be; paths start below the space.

    Parameters
    ----------
    known
        The whole space, where some of it could not be read and is not among the dimensions.
    """
    names = list(known if known is not None else dimensions)
    found: list[Problem] = []
    for name, given in dimensions.items():
        if given.per is not None:
            found += _per(name, given.per, dimensions, names)
        for on, values in (given.when or {}).items():
            found += _when(name, on, values, dimensions, names)
        if given.when == {}:
            found.append(Problem((name, "when"), "nothing is listed here", "leave the key out"))
    yield from found
    try:
        order(dimensions)
    except CycleError as error:
        circle = error.args[1]
        path = " needs ".join(f"'{name}'" for name in reversed(circle))
        where = next(name for name in dimensions if name in circle)
        told = {problem.path[0] for problem in found}
        if not told & set(circle):
            yield Problem((where,), f"these depend on each other in a circle: {path}", on_key=True)


def _unknown(path: tuple[str | int, ...], name: str, names: list[str], on_key: bool) -> Problem:
    near = nearest(name, names)
    hint = f"did you mean '{near}'?" if near else f"the space has {', '.join(names[:8])}"
    return Problem(path, f"'{name}' is not in the space", hint, on_key=on_key)


def _per(name: str, per: str, dimensions: Mapping[str, Dimension], names: list[str]) -> Iterator[Problem]:
    path = (name, "per")
    if per not in names:
        yield _unknown(path, per, names, False)
    elif per == name:
        yield Problem(path, f"'{name}' cannot say how many values it has itself")
    elif per in dimensions:
        count = dimensions[per]
        if count.int is None:
            yield Problem(
                path, f"'{per}' is no whole number", f"write `{per}: {{int: [1, 8]}}`, or name another one"
            )
        elif count.per is not None:
            yield Problem(path, f"'{per}' is a list itself", "name a hyperparameter with one value")
        elif count.int[0] < 0:
            yield Problem(path, f"'{per}' can be {count.int[0]}, and nothing has fewer than no values")
        elif count.int[1] > MOST:
            yield Problem(
                path,
                f"'{per}' can be {count.int[1]}: a trial has at most {MOST} values of one hyperparameter",
            )
        if any(other.startswith(f"{name}[") for other in names):
            yield Problem((name,), f"'{name}[...]' names values of this one", "rename the other", on_key=True)


def _when(
    name: str, on: str, values: Any, dimensions: Mapping[str, Dimension], names: list[str]
) -> Iterator[Problem]:
    path: tuple[str | int, ...] = (name, "when", on)
    if on not in names:
        yield _unknown(path, on, names, True)
        return
    if on == name:
        yield Problem(path, f"'{name}' cannot depend on itself", on_key=True)
        return
    if on not in dimensions:
        return
    given = dimensions[on]
    if given.per is not None:
        yield Problem(path, f"'{on}' is a list; a condition asks for one value", on_key=True)
    elif given.choice is None and given.int is None:
        yield Problem(
            path,
            f"'{on}' is a real number, which is drawn equal to a given one only by chance",
            "a condition asks for a choice or a whole number",
            on_key=True,
        )
    elif not wanted(values):
        yield Problem(path, "nothing is listed here", "leave the key out")
    else:
        for i, value in enumerate(wanted(values)):
            if not possible(given, value):
                at = (*path, i) if isinstance(values, list) else path
                yield Problem(at, f"'{on}' is never {value!r}", f"it is {_range(given)}")


def possible(given: Dimension, value: Any) -> bool:
    """Tell whether a choice or a whole number can have a value."""
    if given.choice is not None:
        return any(same(value, choice) for choice in given.choice)
    if given.int is None or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(given.int[0] <= value <= given.int[1]) and value == int(value)


def _range(given: Dimension) -> str:
    if given.choice is not None:
        return f"one of {', '.join(map(repr, given.choice[:12]))}"
    assert given.int is not None
    return f"from {given.int[0]} to {given.int[1]}"
