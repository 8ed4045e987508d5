"""A space is tried out before anything is queued."""

from __future__ import annotations

import pytest

from ml_suite.config.findings import Finding, Severity
from ml_suite.config.source import loads, parse
from ml_suite.study import feasibility, space
from tests.config.conftest import VALID

SPACE = """\
    training.optimization.lr: {log: [1e-5, 1e-3]}
    model.num_channels: {choice: [256, 512]}
"""
LAYERS = """\
    layers: {int: [1, 20]}
    units: {choice: [8, 16], per: layers}
"""


def check(written: str, more: str = "", trials: int = 20) -> list[Finding]:
    text = VALID.replace(SPACE, written).replace("  metric: val\n", f"  metric: val\n{more}")
    source = loads(text.replace("trials: 20", f"trials: {trials}").replace("keep: 5%", "keep: 10%"), "d.yaml")
    deployment = parse(source)
    assert deployment.hpo is not None
    return list(feasibility.check(deployment.hpo, source))


def test_a_space_that_can_be_drawn_from_is_passed_over() -> None:
    assert check(SPACE) == []
    assert check(LAYERS, '  constraints: ["units[0] >= units[-1]", layers > 1]\n') == []
    assert check(LAYERS, "  sampling: {optuna: tpe}\n") == []


def test_a_constraint_that_nothing_fulfils_is_an_error_at_its_place() -> None:
    (found,) = check(LAYERS, "  constraints: [layers > 1, layers > 20]\n")
    assert found.severity is Severity.ERROR
    assert found.message == (
        "none of 10,000 trials that were drawn fulfils all 2 constraints; this one alone: 0%"
    )
    assert found.place is not None
    assert (found.place.line, found.place.column) == (8, 29)
    (found,) = check(LAYERS, "  constraints: [layers > 20]\n")
    assert "none of 10,000 trials that were drawn fulfils this constraint" in found.message
    assert found.hint is not None


def test_constraints_that_exclude_each_other_are_an_error() -> None:
    (found,) = check(LAYERS, "  constraints: [layers > 10, layers < 5]\n")
    assert found.severity is Severity.ERROR
    assert "fulfils all 2 constraints; this one alone: 2" in found.message


@pytest.mark.parametrize(
    ("low", "severity"), [(0.98, None), (0.997, Severity.WARNING), (0.9995, Severity.WARNING)]
)
def test_a_constraint_that_little_fulfils_is_a_warning_with_the_share(
    low: float, severity: Severity | None
) -> None:
    found = check("    x: {float: [0, 1]}\n", f"  constraints: [x > {low}]\n")
    assert [f.severity for f in found] == ([severity] if severity else [])
    for f in found:
        share = float(f.message.split("only ")[1].split("%")[0]) / 100
        assert share == pytest.approx(1 - low, rel=1.5)


def test_a_constraint_without_an_answer_is_an_error_with_its_column() -> None:
    (found,) = check(LAYERS, "  constraints: [layers > 0, 1 < 2 / (layers - 3)]\n")
    assert found.severity is Severity.ERROR
    assert found.message == "this divides by zero"
    assert found.place is not None
    assert found.place.text[found.place.column - 1 :].startswith("2 / (layers - 3)")
    assert found.key == "hpo.constraints.1"


def test_more_trials_than_a_grid_has_points_are_an_error_with_the_size() -> None:
    (found,) = check(LAYERS.replace("20", "3"), "  sampling: grid\n")
    assert (found.severity, found.message) == (Severity.ERROR, "the grid has 14 points for 20 trials")
    assert found.key == "hpo.step1.trials"
    assert check(LAYERS.replace("20", "3"), "  sampling: grid\n", trials=14) == []
    (found,) = check(
        LAYERS.replace("20", "3"), "  sampling: grid\n  constraints: [units == sorted(units)]\n", 14
    )
    assert found.message == "the grid has 9 points for 14 trials"


def test_a_grid_that_is_not_finished_is_a_warning() -> None:
    (found,) = check(LAYERS.replace("20", "3"), "  sampling: grid\n", trials=10)
    assert found.severity is Severity.WARNING
    assert "14 points, of which only the first 10 are tried" in found.message
    (found,) = check("    n: {int: [99, 99]}\n    u: {int: [1, 9], per: n}\n", "  sampling: grid\n")
    assert "about 10^94 points" in found.message
    (found,) = check("    u: {int: [1, 10000000]}\n", "  sampling: grid\n")
    assert (found.severity, found.key) == (Severity.ERROR, "hpo.sampling")


@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_a_small_space_that_repeats_is_a_warning(sampling: str) -> None:
    (found,) = check(LAYERS.replace("20", "2"), f"  sampling: {sampling}\n")
    assert found.severity is Severity.WARNING
    assert found.message == "the space has 6 combinations, so that 20 trials repeat some"
    assert found.hint == "write `sampling: grid` and trials: 6 to try each once"


def test_the_share_of_draws_is_that_of_the_space() -> None:
    ready = space.build(space.parse({"x": {"float": [0.0, 1.0]}}), ["x < 0.25", "x > 0.1"])
    assert feasibility.satisfied(ready, 0, 4000) == pytest.approx([0.25, 0.9, 0.15], abs=0.03)
