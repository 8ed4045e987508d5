"""What the keys of the section `hpo` say together, with places, words and hints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.config import search_rules
from ml_suite.config.findings import FileError
from ml_suite.config.source import loads, parse
from ml_suite.study import feasibility

from .conftest import VALID

SPACE = """\
    training.optimization.lr: {log: [1e-5, 1e-3]}
    model.num_channels: {choice: [256, 512]}
"""
NEW = """\
    layers: {int: [1, 20]}
    units: {choice: [8, 16, 32], per: layers}
    optimiser: {choice: [adam, sgd]}
    momentum: {float: [0, 1], when: {optimiser: sgd}}
"""
TEXT = VALID.replace(SPACE, NEW)


def report(text: str) -> str:
    with pytest.raises(FileError) as caught:
        parse(loads(text, "d.yaml"))
    return str(caught.value)


def with_hpo(line: str) -> str:
    return TEXT.replace("  metric: val\n", f"  metric: val\n  {line}\n")


def test_a_space_with_lists_conditions_and_constraints_is_read() -> None:
    deployment = parse(
        loads(
            with_hpo('constraints: ["units[0] >= units[-1]", layers < 10 or optimiser == "adam"]').replace(
                "keep: 5%",
                "keep: 5%, filter: 'layers in [2] and value < 3 and parameters <= 1e6 and rank < 5'",
            )
        )
    )
    assert deployment.hpo is not None
    assert deployment.hpo.space["units"].per == "layers"
    assert deployment.hpo.constraints == ["units[0] >= units[-1]", 'layers < 10 or optimiser == "adam"']


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("per: layers", "per: layer", "10:39", "'layer' is not in the space", "did you mean 'layers'?"),
        ("per: layers", "per: zzz", "10:39", "'zzz' is not in the space", "has layers, units, optimiser"),
        ("per: layers", "per: units", "10:39", "cannot say how many values it has itself", None),
        ("per: layers", "per: optimiser", "10:39", "'optimiser' is no whole number", "{int: [1, 8]}"),
        ("[1, 20]", "[-1, 20]", "10:39", "'layers' can be -1", None),
        ("[1, 20]", "[1, 2000]", "10:39", "at most 1000 values", None),
        ("{optimiser: sgd}", "{optimizer: sgd}", "12:38", "'optimizer' is not in the space", "'optimiser'?"),
        ("{optimiser: sgd}", "{optimiser: sdg}", "12:49", "'optimiser' is never 'sdg'", "one of 'adam', 'sgd'"),
        ("{optimiser: sgd}", "{layers: [1, 30]}", "12:50", "'layers' is never 30", "from 1 to 20"),
        ("{optimiser: sgd}", "{layers: 2.5}", "12:46", "'layers' is never 2.5", None),
        ("{optimiser: sgd}", "{layers: true}", "12:46", "'layers' is never True", None),
        ("{optimiser: sgd}", "{units: 8}", "12:38", "'units' is a list", None),
        ("{optimiser: sgd}", "{momentum: 1}", "12:38", "'momentum' cannot depend on itself", None),
        ("{optimiser: sgd}", "{optimiser: []}", "12:49", "nothing is listed here", None),
        ("{optimiser: sgd}", "{}", "12:37", "nothing is listed here", "leave the key out"),
        ("[adam, sgd]}", "[adam, sgd], when: {layers: 3}}\n    x: {int: [1, 2], when: {momentum: 0.5}}", "12:29",
         "'momentum' is a real number", "a condition asks for a choice"),
        ("[adam, sgd]}", "[adam, sgd]}\n    'units[1]': {int: [1, 2]}", "10:5", "'units[...]' names values of this",
         "rename"),
        ("[adam, sgd]", "[adam, sgd], points: 3", "11:16", "points is for the real ranges", None),
        ("  metric: val", "  metric: val\n  sampling: grid", "13:15", "how many values", "{float: [0, 1], points: 5}"),
        ("  metric: val", "  metric: val\n  sampling: {optuna: tpe, rounds: 21}", "8:35", "20 trials cannot be", "20"),
        ("  metric: val", "  metric: val\n  sampling: lhs", "8:13", "one of: random, sobol, grid", "{optuna: tpe"),
        ("  metric: val", "  metric: val\n  sampling: 3", "8:13", "write one of: random, sobol, grid", "{optuna: tpe"),
        ("  metric: val", "  metric: val\n  sampling: {optuna: nsga}", "8:22", "write one of: tpe, gp, cmaes, random",
         None),
        ("  metric: val", "  metric: val\n  sampling: {optuna: tpe, round: 3}", "8:27", "unknown key 'round'",
         "did you mean 'rounds'?"),
        ("  metric: val", "  metric: val\n  constraints: [layers > 3, laers > 2]", "8:29", "nothing is called 'laers'",
         "did you mean 'layers'?"),
        ("  metric: val", "  metric: val\n  constraints: [layers = 3]", "8:24", "error: write == to compare", None),
        ("  metric: val", "  metric: val\n  constraints: [1 > 0]", "8:17", "reads no hyperparameter", "leave it out"),
        ("keep: 5%", "keep: 5%, filter: layers > 3 and vale < 2", "14:44",
         "error: nothing is called 'vale'", "did you mean 'value'?"),
        ("subset: 5%", "subset: 5%, epochs: 5, rungs: {at: [2, 5]}", "13:62", "has 5 epochs", None),
        ("keep: 5%", "keep: 5%, rungs: {at: [2]}", "14:21", "trains each candidate in a task", "study run"),
        ("keep: 5%", "keep: 5%, rungs: {at: [3, 2]}", "14:28", "at: lists epochs in ascending order", None),
        ("subset: 5%", "subset: 5%, shards: 3, rungs: {at: [2]}", "13:43", "20 trials that compete in 2 cohorts of 16",
         "at most 2"),
        ("subset: 5%", "subset: 5%, contiguous: true, block: 3d", "13:53", "a contiguous subset has no blocks", None),
        ("subset: 5%", "subset: 5%, block: 0d", "13:42", "this must be longer than zero", None),
        ("keep: 5%", "keep: 5%, finalists: 2, replicates: 2", "14:32", "2 finalists cannot be chosen of 1 candidates",
         "at most 1"),
        ("keep: 5%", "keep: 21", "14:17", "21 candidates cannot be kept of 20 trials", "at most 20, or a share"),
        ("keep: 5%", "keep: 0", "14:17", "a number of trials to keep is at least 1", None),
        ("keep: 5%", "keep: 0.05", "14:17", "a share of the trials, their number, or auto: 5%, 12, auto", None),
        ("keep: 5%", "keep: best", "14:17", "a share of the trials, their number, or auto: 5%, 12, auto", None),
        ("keep: 5%", "keep: 500%", "14:17", "a share lies above 0% and is at most 100%", None),
        ("keep: 5%", "keep: true", "14:17", "a share of the trials, their number, or auto: 5%, 12, auto", None),
        ("keep: 5%", "keep: 3, finalists: 4, replicates: 2", "14:31", "4 finalists cannot be chosen of 3", "at most 3"),
        ("keep: 5%", "keep: 5%, select: smallest", "14:29", "write one of: best, pareto, lightest within 5%", None),
        ("keep: 5%", "keep: 5%, controls: 20", "14:31", "20 controls cannot be chosen of the 19 trials", "at most 19"),
    ],
)  # fmt: skip
def test_each_error_has_its_place_and_words(
    old: str, new: str, place: str, message: str, hint: str | None
) -> None:
    assert old in TEXT
    told = report(TEXT.replace(old, new, 1))
    first = next((line for line in told.splitlines() if line.startswith(f"d.yaml:{place}: error: ")), "")
    assert message in first, told
    assert "1 error in d.yaml" in told, told
    if hint:
        assert hint in told


def test_a_number_of_trials_is_kept_as_it_stands() -> None:
    deployment = parse(loads(TEXT.replace("keep: 5%", "keep: 12")))
    assert deployment.hpo is not None
    assert deployment.hpo.keep_count == 12
    again = type(deployment).model_validate_json(deployment.model_dump_json())
    assert again.hpo is not None
    assert again.hpo.step2.keep == 12
    assert '"keep":12' in deployment.model_dump_json()
    whole = parse(loads(TEXT.replace("keep: 5%", "keep: 100%"))).hpo
    assert whole is not None
    assert whole.keep_count == 20


def test_the_caret_is_at_the_character_of_an_expression_that_is_wrong() -> None:
    told = report(with_hpo('constraints: [layers > 1, "units[0] >= units[-1] and layers < lay"]'))
    line, caret = next(
        (line, below)
        for line, below in zip(told.splitlines(), told.splitlines()[1:], strict=False)
        if "units[-1] and" in line
    )
    assert line[caret.index("^") :].startswith('lay"]')


def test_a_text_of_several_lines_is_counted_by_the_reader() -> None:
    told = report(with_hpo("constraints:\n  - >-\n    layers > 3\n    and laers < 9"))
    assert "d.yaml:9:5: error: column 16 of this: nothing is called 'laers'" in told
    told = report(with_hpo("constraints: ['optimiser == ''adam'' or laers < 9']"))
    assert "column 24 of this: nothing is called 'laers'" in told


def test_a_condition_may_ask_for_null() -> None:
    text = TEXT.replace("[adam, sgd]", "[adam, null]").replace("{optimiser: sgd}", "{optimiser: null}")
    deployment = parse(loads(text))
    assert deployment.hpo is not None
    assert deployment.hpo.space["momentum"].when == {"optimiser": None}
    assert "'when' has no value" in report(TEXT.replace("when: {optimiser: sgd}", "when: null"))


def test_a_circle_is_told_once_and_by_its_names() -> None:
    text = TEXT.replace(NEW, "    a: {int: [1, 2], when: {b: 1}}\n    b: {int: [1, 2], when: {a: 1}}\n")
    told = report(text)
    assert "d.yaml:9:5: error: these depend on each other in a circle: 'a' needs 'b' needs 'a'" in told
    assert "1 error in d.yaml" in told


def test_what_is_wrong_in_itself_is_not_told_twice() -> None:
    told = report(TEXT.replace("{int: [1, 20]}", "{int: [20, 1]}").replace("[adam, sgd]", "[]"))
    assert told.count("error: ") == 2
    assert "the range is reversed" in told
    assert "nothing is listed here" in told


def test_fewer_finalists_than_new_trials_between_the_candidates() -> None:
    parse(loads(TEXT.replace("keep: 5%", "keep: 5%, narrow: 9, finalists: 4, replicates: 3")))
    # how many a pilot will keep is not known
    parse(loads(TEXT.replace("keep: 5%", "keep: auto, finalists: 4, replicates: 3")))


def test_the_documented_space_is_read_and_can_be_drawn_from(repository: Path) -> None:
    page = (repository / "docs" / "spaces.md").read_text()
    (section,) = re.findall(r"^```yaml\n(hpo:.*?)^```", page, re.DOTALL | re.MULTILINE)
    source = loads(VALID[: VALID.index("hpo:")] + section + VALID[VALID.index("hosts:") :], "d.yaml")
    deployment = parse(source)
    assert list(feasibility.check(deployment.hpo, source)) == []


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.floats()
    | st.sampled_from(["a", "b", "int", "x > 1", "5%"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "b", "int", "choice", "per", "when", "at", "cohort"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
KEYS = ["space", "constraints", "sampling", "step1", "step2", "seed"]
INNER = [
    "trials",
    "shards",
    "rungs",
    "epochs",
    "contiguous",
    "block",
    "keep",
    "filter",
    "finalists",
    "controls",
]


@given(
    st.dictionaries(
        st.sampled_from(KEYS), ANY | st.dictionaries(st.sampled_from([*INNER, "a", "b"]), ANY, max_size=5)
    )
)
def test_the_rules_take_data_that_is_wrong_in_any_way(hpo: dict[str, Any]) -> None:
    for problem in search_rules.problems({"hpo": hpo, "training": {"epochs": 3}}):
        assert problem.path[0] == "hpo"
        assert problem.message
    assert json.dumps(list(search_rules.dimensions({"hpo": hpo})))
