"""What trainer mlp understands, and what a network costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from ml_suite.config import study_file
from ml_suite.config.hpo import Dimension
from ml_suite.errors import StudyError
from ml_suite.trainers.mlp import precision, settings


def space(**given: dict[str, Any]) -> dict[str, Dimension]:
    return {name: Dimension.model_validate(one) for name, one in given.items()}


PAPER = space(layers={"int": [1, 20]}, units={"choice": [8, 16, 32, 2048], "per": "layers"})


@pytest.mark.parametrize(
    ("params", "fixed", "hidden"),
    [
        ({"layers": 3, "units": 8}, {}, (8, 8, 8)),
        ({"layers": 2, "units": [8, 16]}, {}, (8, 16)),
        ({"units": [8, 16]}, {"layers": 3}, (8, 16)),
        ({"layers": 2}, {"units": 64, "batch": 32}, (64, 64)),
    ],
)
def test_a_network_is_stated_by_layers_and_units(
    params: dict[str, Any], fixed: dict[str, Any], hidden: tuple[int, ...]
) -> None:
    assert settings.parse(params, fixed).hidden == hidden


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"layers": 3, "units": [8, 8]}, "units has 2 widths for 3 layers"),
        ({"units": 8}, "layers is missing"),
        ({"layers": 2}, "units: field required"),
        ({"layers": 2, "units": 0}, "units"),
        ({"layers": True, "units": 8}, "layers"),
        ({"layers": 1, "units": 8, "learning_rate": float("nan")}, "learning_rate"),
        ({"layers": 1, "units": 8, "lr": 1e-3}, "lr: extra inputs"),
    ],
)
def test_an_impossible_network_is_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError) as refused:
        settings.parse(params, {})
    assert words in refused.value.message


def test_the_papers_space_fits() -> None:
    assert settings.check(PAPER, {"learning_rate": 1e-3, "batch": 1024, "epsilon": 1e-7}) == []
    assert settings.check(space(units={"choice": [[8, 8], [64]]}), {}) == []
    assert settings.check(space(learning_rate={"log": [1e-4, 1e-2]}), {"layers": 2, "units": [8, 8]}) == []


@pytest.mark.parametrize(
    ("given", "fixed", "key", "words"),
    [
        ({"learning_rat": {"log": [1e-4, 1e-2]}, **PAPER}, {}, "learning_rat", "no hyperparameter"),
        (PAPER, {"dropout": 0.1}, "dropout", "no hyperparameter"),
        (space(layers={"int": [0, 3]}, units={"choice": [8]}), {}, "layers", "layers cannot be 0"),
        (space(layers={"int": [1, 3]}, units={"choice": [8, -1]}), {}, "units", "units cannot be -1"),
        (space(layers={"int": [1, 3]}, units={"float": [8, 16]}), {}, "units", "units cannot be 8.0"),
        (PAPER, {"learning_rate": 0}, "learning_rate", "learning_rate cannot be 0"),
        (space(layers={"int": [1, 3]}), {}, "units", "no width"),
        (space(units={"int": [8, 16]}), {}, "layers", "no number of hidden layers"),
        (space(layers={"int": [1, 3]}, units={"choice": [[8], [8, 8]]}), {}, "units", "do not follow"),
        (space(batch={"int": [1, 3]}, units={"choice": [8], "per": "batch"}), {}, "units", "not the number"),
    ],
)
def test_what_does_not_fit_is_told_with_its_name(
    given: dict[str, Dimension], fixed: dict[str, Any], key: str, words: str
) -> None:
    problems = settings.check({k: Dimension.model_validate(v) for k, v in given.items()}, fixed)
    assert [p.key for p in problems] == [key]
    assert words in problems[0].message


def test_a_misspelt_name_gets_a_proposal() -> None:
    (problem,) = settings.check(PAPER, {"learning_rat": 1e-3})
    assert problem.hint == "did you mean 'learning_rate'?"


def test_parameters_and_operations_are_counted() -> None:
    widths = (16, 8, 4)
    assert settings.parameters(widths) == 16 * 8 + 8 + 8 * 4 + 4
    # forward, weight gradient and input gradient, which the first layer does without; validation is forward alone
    assert settings.flops(widths, 10, 5) == 10 * (6 * 160 - 2 * 128) + 5 * 2 * 160
    assert settings.steps(2500, 1024) == 3


def test_small_layers_stay_in_fp32() -> None:
    assert precision.layers((16, 8, 512, 512, 4), "bf16", "cpu") == (False, True, True, True)
    assert precision.layers((16, 512, 32, 4), "bf16", "cpu") == (True, True, False)
    assert precision.layers((16, 512, 512, 4), "fp32", "cpu") == (False, False, False)


def test_the_page_has_every_setting_with_its_default(repository: Path) -> None:
    page = (repository / "docs" / "training.md").read_text().partition("## Trainer mlp")[2]
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.M))
    own = {name: field.default for name, field in settings.Settings.model_fields.items()}
    stated = study_file.Training.model_fields
    more = {n: f.default for n, f in stated.items() if n not in (*own, "trainer", "command", "files")}
    assert set(study_file.SETTINGS) == set(own)
    expected = {
        name: "none" if given in (None, PydanticUndefined) else str(given) for name, given in own.items()
    }
    assert told == expected | {name: "none" if given is None else str(given) for name, given in more.items()}
