"""Any space that a person can write, and what a trial of it has to be."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ml_suite.config import relations
from ml_suite.config.hpo import Dimension

PAPER: dict[str, dict[str, Any]] = {
    "layers": {"int": [1, 20]},
    "units": {"choice": [8, 16, 32, 64, 128, 256, 512, 1024, 2048], "per": "layers"},
}
"""Yu et al. (2023): 1 to 20 layers, each with a width of its own."""


@st.composite
def spaces(draw: st.DrawFn, grid: bool = False) -> dict[str, dict[str, Any]]:
    """Up to six hyperparameters, of which some are lists and some depend on others."""
    space: dict[str, dict[str, Any]] = {}
    for i in range(draw(st.integers(1, 6))):
        given: dict[str, Any]
        kind = draw(st.sampled_from(["choice", "int", "float", "log"]))
        if kind == "choice":
            values = ["adam", "sgd", 8, 16, None, True, 2.5]
            given = {
                kind: draw(
                    st.lists(
                        st.sampled_from(values), min_size=1, max_size=3, unique_by=lambda v: (str(type(v)), v)
                    )
                )
            }
        elif kind == "int":
            low = draw(st.integers(0, 3))
            given = {kind: [low, low + draw(st.integers(0, 3))]}
        else:
            low = draw(st.floats(1e-6, 10))
            given = {kind: [low, low * draw(st.floats(1, 1e4))]}
            if grid:
                given["points"] = draw(st.integers(2, 4))
        counts = [name for name, other in space.items() if "int" in other and "per" not in other]
        switches = [
            name for name, other in space.items() if {"choice", "int"} & other.keys() and "per" not in other
        ]
        if counts and draw(st.booleans()):
            given["per"] = draw(st.sampled_from(counts))
        if switches and draw(st.booleans()):
            on = draw(st.sampled_from(switches))
            allowed = space[on].get("choice") or list(range(space[on]["int"][0], space[on]["int"][1] + 1))
            wanted = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=2))
            given["when"] = {on: wanted if len(wanted) > 1 or draw(st.booleans()) else wanted[0]}
        space[draw(st.sampled_from([f"x{i}", f"a.b{i}", f"x-{i}"]))] = given
    # a space need not name what others depend on first
    names = draw(st.permutations(list(space)))
    return {name: space[name] for name in names}


def check(space: dict[str, Dimension], params: dict[str, Any]) -> None:
    """Everything that a trial of a space fulfils, said another way than the code says it."""
    assert list(params) == [name for name in space if name in params]
    for name, given in space.items():
        active = all(
            on in params
            and any(relations.same(params[on], value) for value in (v if isinstance(v, list) else [v]))
            for on, v in (given.when or {}).items()
        )
        if given.per is not None and given.per not in params:
            active = False
        assert (name in params) is active, name
        if not active:
            continue
        if given.per is None:
            assert contains(given, params[name])
        else:
            assert isinstance(params[name], list)
            assert len(params[name]) == params[given.per]
            assert all(contains(given, value) for value in params[name])


def contains(given: Dimension, value: Any) -> bool:
    """Tell whether a value lies in a range and has its type."""
    if given.choice is not None:
        return any(relations.same(value, choice) for choice in given.choice)
    low, high = getattr(given, given.kind)
    kind = int if given.int is not None else float
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
