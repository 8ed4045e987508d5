"""The space against a composed configuration: lists, and hyperparameters that are not always there."""

from __future__ import annotations

from typing import Any

from ml_suite.config import hyperparameters
from ml_suite.config.composed import Candidate, Composed, Key, SchemaError
from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import Finding, Severity
from ml_suite.config.source import Source, loads, parse

from .conftest import VALID

SPACE = """\
    training.optimization.lr: {log: [1e-5, 1e-3]}
    model.num_channels: {choice: [256, 512]}
"""
NEW = """\
    model.num_layers: {int: [1, 3]}
    model.widths: {choice: [8, 16], per: model.num_layers}
    model.kind: {choice: [gnn, mlp]}
    model.dropout: {float: [0, 2], when: {model.kind: mlp}}
"""
KEYS = ("model.num_layers", "model.widths", "model.kind", "model.dropout")


def read() -> tuple[Deployment, Source]:
    source = loads(VALID.replace(SPACE, NEW), "d.yaml")
    return parse(source), source


def composed(*refused: tuple[str, Any]) -> Composed:
    """Facts of a configuration with these keys, whose schema refuses some values."""
    error = SchemaError(loc=(), type="less_than_equal", ctx={"le": 1}, input="")
    return Composed(
        version="1",
        keys={key: Key(type="int") for key in KEYS},
        max_epochs=3,
        candidates=tuple(Candidate(key=key, value=value, errors=(error,)) for key, value in refused),
    )


def findings(*refused: tuple[str, Any]) -> list[Finding]:
    deployment, source = read()
    return list(hyperparameters.check(deployment, source, composed(*refused)))


def test_lists_are_tried_as_short_and_as_long_as_they_can_be() -> None:
    deployment, _ = read()
    tried = hyperparameters.candidates(deployment)
    assert [value for key, value in tried if key == "model.widths"] == [[8], [8, 8, 8], [16], [16, 16, 16]]
    assert [value for key, value in tried if key == "model.num_layers"] == [1, 3]


def test_a_very_long_list_is_tried_with_fewer_values() -> None:
    source = loads(VALID.replace(SPACE, NEW.replace("[1, 3]", "[0, 900]")), "d.yaml")
    tried = [value for key, value in hyperparameters.candidates(parse(source)) if key == "model.widths"]
    assert [len(value) for value in tried] == [0, 64, 0, 64]


def test_a_list_that_the_schema_refuses_is_an_error_at_its_value() -> None:
    (found,) = findings(("model.widths", [16, 16, 16]))
    assert found.severity is Severity.ERROR
    assert found.message == "model.widths cannot be [16, 16, 16]: this must be at most 1"
    assert found.hint == "each trial gives a list here; leave out `per: model.num_layers` for one value"
    assert found.place is not None
    assert (found.place.line, found.place.column) == (10, 32)


def test_what_is_not_always_there_is_only_warned_of() -> None:
    """It was tried beside other values than those that it needs."""
    (found,) = findings(("model.dropout", 2.0))
    assert found.severity is Severity.WARNING
    assert "model.dropout cannot be 2.0" in found.message
    assert found.hint is not None
    assert "where model.kind" in found.hint


def test_all_is_well_where_nothing_is_refused() -> None:
    assert findings() == []
