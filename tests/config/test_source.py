"""Deployment files: places, the words of every error, all of them at once, and no secret in a message."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import FileError
from ml_suite.config.source import load, loads, parse
from ml_suite.errors import ConfigError

from .conftest import VALID

PYDANTIC = re.compile(
    r"Input should|Field required|Value error|Extra inputs|valid (string|integer|dict)|pydantic"
)


def report(text: str) -> str:
    """Return what a person reads about a text with errors."""
    with pytest.raises(FileError) as caught:
        parse(loads(text, "d.yaml"))
    assert not PYDANTIC.search(str(caught.value))
    return str(caught.value)


def test_a_valid_file_is_read(valid: str) -> None:
    deployment = parse(loads(valid))
    assert deployment.training.resources.walltime == timedelta(hours=12)
    assert deployment.hpo is not None
    assert deployment.hpo.space["training.optimization.lr"].log == (1e-5, 1e-3)
    assert deployment.hpo.keep_count == 1
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment


def test_the_form_of_a_message(valid: str) -> None:
    text = report(valid.replace("walltime: 12h", "walltime: 12"))
    assert text == (
        "d.yaml:5:34: error: write a duration as a number and a unit: 30m, 12h, 1d\n"
        "  | training.resources.walltime\n"
        " 5|   resources: {gpus: 4, walltime: 12}\n"
        "  |                                  ^\n"
        "\n"
        "1 error in d.yaml"
    )


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("suite: aifs", "suite: .aifs", "1:8", "a suite's name has letters", None),
        ("suite: aifs", "suite: 12", "1:8", "write text here", None),
        ("suite: aifs", "suite:", "1:1", "'suite' has no value", "leave the key out"),
        ("suite: aifs", "siute: aifs", "1:1", "unknown key 'siute'", "did you mean 'suite'?"),
        ("suite: aifs\n", "", "1:1", "'suite' is required", None),
        ("recipe: recipes/r.yaml", "parts: 3", "2:1", "'recipe' is required in dataset", "Recipe file"),
        ("recipes/r.yaml}", "r.yaml, trials: 3}", "2:27", "unknown key 'trials'", "belongs in hpo.step1"),
        ("recipes/r.yaml}", "r.yaml, zzz: 3}", "2:27", "unknown key 'zzz'", "known keys: recipe, sources"),
        ("recipes/r.yaml}", "r.yaml, parts: 0}", "2:34", "this must be more than 0", None),
        ("recipes/r.yaml}", "r.yaml, parts: 1000}", "2:34", "this must be at most 999", None),
        ("recipes/r.yaml}", "r.yaml, parts: 2.0}", "2:34", "write a whole number", None),
        ("recipes/r.yaml}", "r.yaml, parts: yes}", "2:34", "write a whole number", None),
        ("recipes/r.yaml}", "r.yaml, parts: true}", "2:34", "write a whole number", None),
        ("recipes/r.yaml}", "r.yaml, store: /data}", "2:34", "s3://bucket/prefix", None),
        ("suite: aifs", "suite: ml-suite", "1:8", "/ml_suite is the suite that watches", "another name"),
        ("recipes/r.yaml}", "r.yaml, host: b}", "2:33", "'b' is not under hosts", "this deployment has a"),
        ("gpus: 4", "gpus: -1", "5:21", "this must be at least 0", None),
        ("gpus: 4", "gpus: four", "5:21", "write a whole number", None),
        ("12h}", "12 hours}", "5:34", "write a duration", None),
        ("12h}", "0m}", "5:34", "longer than zero", None),
        ("12h}", "99999999999999w}", "5:34", "longer than a calendar", None),
        ("resources: {gpus: 4, walltime: 12h}", "resources: 4", "5:14", "write keys and values", None),
        ("  config:", "  trainer: keras\n  config:", "4:12", "write one of: anemoi, command", None),
        ("  config:", "  command: [x]\n  config:", "4:3", "does not use 'command'", "trainer: command"),
        ("  config: training/t.yaml\n", "", "3:1", "trainer anemoi needs 'config'", "Hydra YAML"),
        (
            "  metric: val",
            "  metric: val\n  direction: min",
            "8:14",
            "write one of: minimize, maximize",
            None,
        ),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-3, 1e-5]}", "9:31", "the range is reversed: 0.001 is above", None),
        ("{log: [1e-5, 1e-3]}", "{log: [0, 1e-3]}", "9:31", "a log range lies above zero", None),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-5, .inf]}", "9:31", "finite numbers", None),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-5]}", "9:37", "write two numbers: [low, high]", None),
        ("{log: [1e-5, 1e-3]}", "{log: [1, 2, 3]}", "9:37", "write two numbers: [low, high]", None),
        ("{log: [1e-5, 1e-3]}", "{log: 1e-3}", "9:37", "write two numbers: [low, high]", None),
        ("{log: [1e-5, 1e-3]}", "{log: [low, 1]}", "9:38", "write a number", None),
        ("{log: [1e-5, 1e-3]}", "{int: [1, 2.5]}", "9:41", "write a whole number", None),
        ("{log: [1e-5, 1e-3]}", "{int: [1, 2], log: [1, 2]}", "9:31", "write one of {choice: [...]}", None),
        ("{log: [1e-5, 1e-3]}", "{}", "9:31", "write one of {choice: [...]}", None),
        ("{log: [1e-5, 1e-3]}", "{uniform: [1, 2]}", "9:32", "unknown key 'uniform'", "choice, int, float"),
        ("{log: [1e-5, 1e-3]}", "1e-3", "9:31", "write keys and values", None),
        ("{choice: [256, 512]}", "{choice: []}", "10:34", "nothing is listed here", None),
        ("{choice: [256, 512]}", "{choice: [256, 256]}", "10:40", "256 is listed twice", None),
        ("{choice: [256, 512]}", "{choice: 256}", "10:34", "write a list", None),
        ("    model.num_channels:", "    training.optimization.lr:", "10:5", "is given twice", "on line 9"),
        ("trials: 20", "trials: 0", "11:19", "this must be more than 1", None),
        ("subset: 5%", "subset: 0.05", "11:31", "write a share as a percentage: 5%", None),
        ("subset: 5%", "subset: 0%", "11:31", "above 0% and is at most 100%", None),
        ("subset: 5%", "subsets: 5%", "11:23", "unknown key 'subsets'", "did you mean 'subset'?"),
        ("subset: 5%", "subset: 5%, shards: 30", "11:43", "30 jobs cannot share 20 trials", "at most 20"),
        ("subset: 5%", "subset: 5%, hosts: [b]", "11:43", "'b' is not under hosts", "has a"),
        ("subset: 5%", "subset: 5%, hosts: [a, a]", "11:46", "'a' is listed twice", None),
        ("subset: 5%", "subset: 5%, hosts: []", "11:42", "nothing is listed here", "leave the key out"),
        ("subset: 5%", "subset: 5%, hosts: a", "11:42", "write a list", None),
        ("subset: 5%", "subset: 5%, trial_walltime: 13h", "11:51", "a trial must end before its job", None),
        ("keep: 5%", "keep: 2%", "12:17", "2% of 20 trials is less than one", "at least 3%"),
        (
            "trials: 20, subset: 5%}\n  step2: {keep: 5%",
            "trials: 7, subset: auto}\n  step2: {keep: auto",
            "11:19",
            "cannot judge 7 trials",
            "at least 8",
        ),
        (
            "keep: 5%",
            "keep: 5%, by: pareto, against: inference",
            "12:42",
            "does not measure the time of a forward pass",
            "against: parameters",
        ),
        ("  a: {limit: 8}", "  {}", "14:3", "nothing is listed here", None),
        ("  a: {limit: 8}", "  [a]", "14:3", "write keys and values", None),
        ("  a: {limit: 8}", "  a:", "14:3", "'a' has no value", None),
        ("limit: 8", "budget: 3000", "14:15", "unit GPUh: 3000 GPUh", None),
        ("limit: 8", "work: '/scratch/{acount}'", "14:13", "{acount} has no meaning", None),
        ("limit: 8", "work: '/scratch/{'", "14:13", "is alone", None),
        ("s3://bucket/prefix", "bucket", "15:24", "s3://bucket/prefix", None),
        ("}\n", "}\nserver: {host: h, port: 70000}\n", "16:25", "this must be less than 65536", None),
        ("s3://bucket/prefix", "s3://b, mlflow: ftp://x", "15:40", "`embedded` or an address", None),
    ],
)
def test_each_error_has_its_place_and_words(
    valid: str, old: str, new: str, place: str, message: str, hint: str | None
) -> None:
    assert old in valid
    text = valid + new[2:] if old == "}\n" else valid.replace(old, new, 1)
    told = report(text)
    first = next((line for line in told.splitlines() if line.startswith(f"d.yaml:{place}: error: ")), "")
    assert message in first, told
    assert "1 error in d.yaml" in told
    if hint:
        assert hint in told


def test_periods() -> None:
    periods = (
        "  periods:\n"
        "    training: {start: 1996-01-05, end: 1996-01-16T18:00}\n"
        "    validation: {start: 1996-01-17T00:00, end: 1996-01-16T18:00}\n"
        "    test: {start: 1996-13-01T00:00, end: [3]}\n"
    )
    text = report(VALID.replace("hpo:\n", periods + "hpo:\n", 1))
    assert text.count("write a date and a time: 1996-01-05T18:00") == 3
    assert "the validation period ends before it starts" in text
    overlapping = (
        "  periods:\n"
        "    training: {start: 1996-01-05T00:00, end: 1996-01-16T18:00}\n"
        "    validation: {start: 1996-01-16T18:00, end: 1996-01-17T18:00}\n"
        "    test: {start: 1996-01-18T00:00, end: 1996-01-18T18:00}\n"
    )
    text = report(VALID.replace("hpo:\n", overlapping + "hpo:\n", 1))
    assert "the validation period shares dates with the training period" in text
    assert "1 error" in text


PERIODS = """  periods:
    training: {start: 2000-01-01T00:00, end: 2000-12-31T18:00}
    validation: {start: 2001-01-01T00:00, end: 2001-12-31T18:00}
    test: {start: 2002-01-01T00:00, end: 2002-12-31T18:00}
"""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (PERIODS, "trainer command needs 'command'"),
        ("  command: [train]\n", "trainer command needs 'periods'"),
        (f"  command: []\n{PERIODS}", "nothing is listed here"),
        (f"  command: train\n{PERIODS}", "write a list"),
    ],
)
def test_trainer_command(lines: str, told: str) -> None:
    text = VALID.replace("  config: training/t.yaml\n", f"  trainer: command\n{lines}")
    assert told in (shown := report(text))
    assert "1 error in" in shown


def test_trainer_command_with_all_it_needs() -> None:
    lines = f"  trainer: command\n  command: [train, --fast]\n{PERIODS}"
    deployment = parse(loads(VALID.replace("  config: training/t.yaml\n", lines)))
    assert deployment.training.command == ["train", "--fast"]


def test_all_errors_come_at_once_and_in_order() -> None:
    text = report(
        VALID.replace("12h", "12")
        .replace("subset", "subsets")
        .replace("limit: 8", "acount: x")
        .replace("aifs", ".x")
    )
    lines = [int(m[1]) for m in re.finditer(r"(?m)^d\.yaml:(\d+):\d+: error", text)]
    assert lines == [1, 5, 11, 14]
    assert "4 errors in d.yaml" in text
    assert "required" not in text  # the missing 'subset' is explained by the unknown 'subsets'


def test_keys_that_are_missing_together_are_one_error() -> None:
    text = report("suite: a\n")
    assert "'dataset', 'training', 'hosts', 'outputs' are required" in text
    assert "1 error in" in text


def test_a_fixed_and_searched_key_is_an_error(valid: str) -> None:
    text = valid.replace("  config:", "  overrides: {model.num_channels: 3}\n  config:")
    assert "'model.num_channels' is fixed here and searched in hpo.space" in report(text)


def test_overrides_and_choices_may_be_null(valid: str) -> None:
    text = valid.replace("  config:", "  overrides: {a.b: null}\n  config:").replace("256, 512", "256, null")
    deployment = parse(loads(text))
    assert deployment.training.overrides == {"a.b": None}
    assert deployment.hpo is not None
    assert deployment.hpo.space["model.num_channels"].choice == [256, None]


def test_one_choice_is_allowed(valid: str) -> None:
    parse(loads(valid.replace("[256, 512]", "[256]")))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: [1", "1:6", "a ']' or a ',' is missing"),
        ("a: {b: 1", "1:9", "a '}' or a ',' is missing"),
        ("a: b: c", "1:5", "there is a ':' where no key can be"),
        ("a:\n\tb: 1", "2:1", "a tab cannot indent YAML"),
        ('a: "x', "1:6", "quotes are opened and not closed"),
        ("a: *x", "1:4", "this alias is not defined"),
        ("a: @b", "1:4", "this character cannot start a value"),
        ("a: 1\n---\nb: 2", "2:1", "there is more than one document"),
        ("a: \x07", "1:4", "there is an invisible control character"),
        ('a: "\\q"', "1:6", "this escape has no meaning"),
        ("a:\n  - 1\n b: 2", "3:2", "the indentation does not fit"),
        ("a: 1\nb\n", "2:2", "a key without ':'"),
        ("", "1:1", "the file is empty"),
        ("# nothing\n", "1:1", "the file is empty"),
        ("- a\n", "1:1", "write keys and values"),
        ("text", "1:1", "write keys and values"),
    ],
)
def test_grammar(text: str, place: str, message: str) -> None:
    told = report(text)
    assert f"d.yaml:{place}: error: {message}" in told
    assert "1 error in" in told


def test_tags_lists_as_keys_and_endless_aliases_are_refused() -> None:
    text = report("a: !!python/object/apply:os.system [id]\nb: &x [*x]\n? [1, 2]\n: 3\n")
    assert "this alias contains itself" in text
    assert "a key is one word" in text


def test_an_alias_that_multiplies_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "multiplies too often" in report("\n".join(levels))


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("notes: AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("notes: ghp_0123456789abcdefghijklmnopqrstuvwxyz", "ghp_0123456789"),
        ("# old: ghp_0123456789abcdefghijklmnopqrstuvwxyz", "ghp_0123456789"),
        ("notes: https://me:hunter2@example.int", "hunter2"),
        ("password: hunter2", "hunter2"),
        ("s3_secret_access_key: hunter2", "hunter2"),
        ("server: {host: x, token: hunter2, port: a}", "hunter2"),
        ('"api-key": "hunter2 and more"', "hunter2"),
        ("private_key: |\n  hunter2", "hunter2"),
    ],
)
def test_secrets_are_refused_and_not_shown(valid: str, line: str, secret: str) -> None:
    text = report(valid + line + "\n")
    assert "secret" in text
    assert "connections.json" in text
    assert secret not in text


def test_a_secret_is_not_shown_by_an_error_of_grammar() -> None:
    assert "hunter2" not in report("suite: a\npassword: hunter2: x\n")


def test_words_that_are_no_secrets(valid: str) -> None:
    parse(loads(valid.replace("  config:", "  overrides: {model.num_tokens: 3, tokenizer: x}\n  config:")))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"suite: a\nb: \xe9\n")
    with pytest.raises(FileError, match=r"latin\.yaml:2:4: error: this is not UTF-8"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert parse(load(tmp_path / "bom.yaml")).suite == "aifs"


def test_the_caret_stands_below_wide_characters_and_tabs(valid: str) -> None:
    text = report(valid.replace("model.num_channels: {choice: [256, 512]}", "日本: {choice: 3}"))
    line, caret = (t for t in text.splitlines() if "日本: {" in t or t.endswith("^"))
    # two wide characters take four columns
    assert caret.index("^") - caret.index("|") == line.index("3}") - line.index("|") + 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
PATHS = [
    ("suite",),
    ("dataset",),
    ("dataset", "parts"),
    ("training",),
    ("training", "resources"),
    ("training", "resources", "walltime"),
    ("training", "overrides"),
    ("training", "periods"),
    ("hpo",),
    ("hpo", "space"),
    ("hpo", "space", "model.num_channels"),
    ("hpo", "step1"),
    ("hpo", "step1", "hosts"),
    ("hpo", "step2", "keep"),
    ("hosts",),
    ("hosts", "a"),
    ("outputs", "checkpoints"),
    ("evaluation", "lead_time"),
    ("server", "port"),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), VALUES)
def test_no_value_in_any_place_makes_more_than_a_report(path: tuple[str, ...], value: object) -> None:
    import json

    from ruamel.yaml import YAML

    data = YAML(typ="safe", pure=True).load(VALID)
    node = data
    for key in path[:-1]:
        node = node.setdefault(key, {})
    node[path[-1]] = value
    # JSON is YAML, but for the names of infinity and NaN
    text = re.sub(r"-?\bInfinity\b|\bNaN\b", ".nan", json.dumps(data))
    try:
        parse(loads(text, "d.yaml"))
    except FileError as error:
        told = [f.message for f in error.findings]
    else:
        return
    assert told
    assert not PYDANTIC.search("\n".join(told))
