"""Expressions of hyperparameters: what they mean, what they refuse and where, and that no text does anything else."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.config.expressions import ExpressionError, compile
from ml_suite.errors import StudyError

VALUES: dict[str, Any] = {
    "layers": 3,
    "units": [64, 32, 32],
    "model.num_channels": 12,
    "model.processor.kind": "gnn",
    "lambda": 0.5,
    "batch-size": 16,
    "none": None,
    "lr": 1e-3,
}
NAMES = [*VALUES, "momentum"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers < 4", True),
        ("layers in [2, 3]", True),
        ("layers not in (2, 3)", False),
        ("1 < layers <= 3", True),
        ("3 < layers < 1/0", False),
        ("units[0] >= units[-1]", True),
        ("units == sorted(units, reverse=True)", True),
        ("units == sorted(units)", False),
        ("min(units[1:]) == 32 and max(units[:1]) == 64", True),
        ("len(units) == layers and sum(units) == 128", True),
        ("any([u == 32, False]) or layers == 1", True),
        ("model.num_channels % 8 == 4", True),
        ("model.num_channels * 2 ** 3 == 96 and -model.num_channels == abs(-12) * -1", True),
        ("model.processor.kind == 'gnn' and 'g' in model.processor.kind", True),
        ("`lambda` < 1 and `batch-size` // 3 == 5", True),
        ("`lambda` == 0.5 and 'a`b' == \"a`b\"", True),
        ("none == None", True),
        ("not (layers > 2) or lr <= 1e-3", True),
        ("(64 if layers > 2 else 32) == units[0]", True),
        ("max(layers, 7) == 7 and round(lr * 1e4) == 10 and round(1.26, 1) == 1.3", True),
        ("layers >\n  2", True),
        (" layers == 3 ", True),
        ("all([layers > 1, layers > 2]) == True", True),
    ],
)
def test_what_expressions_mean(text: str, expected: bool) -> None:
    text = text.replace("u == 32", "units[1] == 32")
    assert compile(text, NAMES)(VALUES) is expected


@pytest.mark.parametrize("text", ["momentum > 0.5", "units[7] > 3", "layers == 3 and momentum == 1"])
def test_what_is_not_there_decides_nothing(text: str) -> None:
    """A constraint of an inactive hyperparameter does not apply; a filter of one is not fulfilled."""
    expression = compile(text, NAMES)
    assert expression.holds(VALUES, absent=True)
    assert not expression.holds(VALUES, absent=False)
    assert not expression(VALUES)


def test_what_is_not_there_is_not_looked_at_when_the_rest_decides() -> None:
    for text in (
        "layers == 3 or momentum > 0.5",
        "momentum > 0.5 or layers == 3",
        "not (momentum < 1 and layers < 3)",
    ):
        assert compile(text, NAMES)(VALUES)
    for text in ("layers == 2 and momentum > 0.5", "momentum > 0.5 and layers == 2"):
        assert not compile(text, NAMES).holds(VALUES, absent=True)


def test_the_smallest_of_nothing_is_not_there() -> None:
    assert compile("min(units) > 3", NAMES).holds({"units": []}, absent=True)


def test_names_that_are_read_are_told_once() -> None:
    text = "units[0] > model.num_channels or len(units) > layers"
    assert compile(text, NAMES).names == ("units", "model.num_channels", "layers")


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("laers > 2", 1, "nothing is called 'laers'"),
        ("layers > 2 and model.num_channel > 3", 16, "nothing is called 'model.num_channel'"),
        ("'日本' == model.processor.kind and x", 34, "nothing is called 'x'"),
        ("layers = 3", 8, "write == to compare"),
        ("layers > (3", 10, "this bracket is not closed"),
        ("units[0 > 3", 6, "this bracket is not closed"),
        ("layers > 2) or (layers < 1", 11, "this bracket closes nothing"),
        ("(units[0) > 1]", 9, "this bracket closes nothing"),
        ("layers > 2 or '(' == layers = 3", 29, "write == to compare"),
        ("layers == 'a", 11, "this quote is not closed"),
        ("`layers > 2", 1, "this quote is not closed"),
        ("layers & 1 == 0", 1, "there is no such operation"),
        ("layers > 2 layers", 1, "this is no expression"),
        ("layers is 3", 1, "there is no `is`"),
        ("layers in {1, 2}", 11, "a list is written [1, 2]"),
        ("layers.bit_length() > 1", 1, "this function is not known"),
        ("len > 3", 1, "len is a function"),
        ("none == null", 9, "nothing is called 'null'"),
        ("__import__('os').system('true')", 1, "this function is not known"),
        ("(lambda: 1)()", 1, "this function is not known"),
        ("[u for u in units]", 1, "this has no place"),
        ("(x := 3) > 2", 2, "nothing is assigned"),
        ("f'{layers}' == '3'", 1, "text is written plain"),
        ("b'a' == 1", 1, "values are numbers"),
        ("1j == 1", 1, "values are numbers"),
        ("units[::2] == 1", 7, "a slice is [first:last]"),
        ("sum(*units) > 1", 1, "arguments cannot be unpacked"),
        ("[*units] == 1", 1, "a list cannot be unpacked"),
        ("sum(units, start=3) > 1", 1, "a function takes values only"),
        ("~layers > 1", 1, "there is no ~"),
        ("", 1, "the expression is empty"),
        ("  \n ", 1, "the expression is empty"),
        ("layers\t> 2", 7, "there is an invisible character"),
        ("layers > 2\x00", 11, "there is an invisible character"),
        ("-" * 60 + "1 > 0", 51, "nested deeper than 50"),
        ("1 + " * 60 + "1 > 0", 1, "nested deeper than 50"),
        ("(" * 900, 51, "nested deeper than 50"),
        ("(" * 300 + "1 > 0" + ")" * 300, 51, "nested deeper than 50"),
        ("1 > 0 or " * 112 + "1 > 0", 1001, "at most 1000 characters"),
        ("9" * 100 + " > 0", 1, "this number is too large"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text: str, column: int, what: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile(text, NAMES)
    assert what in caught.value.what
    assert caught.value.column == column
    assert f"column {column}: " in caught.value.message
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("layers", 1, "this is 3, and not true or false"),
        ("layers > 2 and units", 1, "not true or false"),
        ("layers == 3 and 1 / (layers - 3) > 1", 17, "divides by zero"),
        ("layers < 'a'", 1, "has no answer"),
        ("units + units == 3", 1, "[64, 32, 32] is no number"),
        ("'a' * 1000000000 == 'b'", 1, "'a' is no number"),
        ("layers ** 65 > 1", 1, "an exponent is at most 64"),
        ("9999999 ** 60 > 1", 1, "too large"),
        ("(9999 ** 20) ** 20 > 1", 2, "too large"),
        ("(0 - 8) ** 0.5 > 1", 1, "no real value"),
        ("1e300 ** 60 > 1", 1, "has no answer"),
        ("layers[0] > 1", 1, "3 is no list"),
        ("units['a'] > 1", 1, "'a' is no whole number"),
        ("units[1.0] > 1", 1, "1.0 is no whole number"),
        ("sum(layers) > 1", 1, "3 is no list"),
        ("sum(['a']) > 1", 1, "'a' is no number"),
        ("3 in layers", 1, "has no answer"),
        ("len() > 1", 1, "has no answer"),
        ("sorted([1, 'a']) == 1", 1, "has no answer"),
    ],
)
def test_what_has_no_answer_is_told_with_its_column(text: str, column: int, what: str) -> None:
    expression = compile(text, NAMES)
    with pytest.raises(ExpressionError) as caught:
        expression(VALUES)
    assert what in caught.value.what
    assert caught.value.column == column


def test_hints_say_what_to_type() -> None:
    with pytest.raises(ExpressionError, match="Did you mean 'layers'"):
        compile("laers > 2", NAMES)
    with pytest.raises(ExpressionError, match=r"Write len\(\.\.\.\)"):
        compile("len > 2", NAMES)
    with pytest.raises(ExpressionError, match="There are: a, b"):
        compile("zzz > 2", ["b", "a"])


WORDS = st.sampled_from(
    [
        *"()[]{},.:+-*/%<>=!&|^~`'\"\\ \n0123456789xé日\x00",
        *(
            "**",
            "//",
            "==",
            "<=",
            " and ",
            " or ",
            " not ",
            " in ",
            " if ",
            " else ",
            " for ",
            "lambda",
            "f'",
            "None",
        ),
        *(
            "len",
            "sum",
            "sorted",
            "max",
            "__class__",
            "__import__",
            "exec",
            "open",
            "layers",
            "units",
            "[1]",
            "'a'",
        ),
        *("model.num_channels", "9" * 30, "1e308", "True"),
    ]
)


@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_an_answer_or_an_error_of_ours(text: str) -> None:
    found: bool | ExpressionError
    try:
        found = compile(text, NAMES).holds(VALUES, absent=True)
    except ExpressionError as error:
        found = error
    if isinstance(found, ExpressionError):
        assert 1 <= found.column <= len(text) + 1
        assert found.message.isprintable()
    else:
        assert found is True or found is False


ATOMS = st.sampled_from(
    ["layers", "units", "units[0]", "units[-9]", "lr", "0", "7", "2.5", "'a'", "[1, 2]", "model.num_channels"]
)
SOUND = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(
            inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "==", "in", "and", "or"]), inner
        ).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["len", "min", "sum", "abs", "round", "sorted", "any"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
        inner.map(lambda t: f"(not {t})"),
    ),
    max_leaves=12,
)


@given(SOUND)
def test_what_can_be_read_means_the_same_as_in_python(text: str) -> None:
    """Where both have an answer; ours refuses more."""
    flat = text.replace("model.num_channels", "channels")
    try:
        ours = compile(text, NAMES)(VALUES)
    except StudyError:
        return
    functions = {"len": len, "min": min, "sum": sum, "abs": abs, "round": round, "sorted": sorted, "any": any}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = eval(flat, {"__builtins__": functions}, {**VALUES, "channels": 12})
    except (IndexError, ValueError, ZeroDivisionError):
        return  # it needs what is not there, and the rest may decide
    assert theirs is ours


def test_reading_needs_the_standard_library_only() -> None:
    code = (
        "from ml_suite.config.expressions import compile; import sys; compile('a > 1', ['a'])\n"
        "print({'pydantic', 'numpy', 'click'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("weights(16, [8], 4) == 172", True),
        ("weights(16, units, 4) == 17 * 64 + 65 * 32 + 33 * 32 + 33 * 4", True),
        ("weights(2, 5, 1, 2) == 15 + 30 + 6", True),
        ("weights(2, [], 1) == 3", True),
        ("weights(2, units[9], 1, 2) > 0", False),
    ],
)
def test_the_size_of_a_dense_network_is_counted(text: str, holds: bool) -> None:
    assert compile(text, NAMES)(VALUES) is holds


@pytest.mark.parametrize(
    "text", ["weights(16, 8, 4) > 0", "weights(16, ['a'], 4) > 0", "weights(-1, [8], 4) > 0"]
)
def test_a_network_of_no_size_has_no_answer(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no number of units or layers"):
        compile(text, NAMES)(VALUES)


def test_an_error_shows_the_place_below_the_text() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile("layers > 2 and laers < 5", NAMES)
    assert str(caught.value).splitlines() == [
        "column 16: nothing is called 'laers'",
        "  layers > 2 and laers < 5",
        "                 ^",
        "  Did you mean 'layers'?",
    ]
    with pytest.raises(ExpressionError) as caught:
        compile("layers > 2\nand laers < 5", NAMES)
    assert "^" not in str(caught.value)
