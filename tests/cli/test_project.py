"""init, validate, schema and hosts: what a newcomer types first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ml_suite.cli import main
from ml_suite.config.schema import HEADER, json_schema
from ml_suite.config.source import load, parse


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Fresh project whose sources exist, in a home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    sources = tmp_path / ".cache" / "ml-suite" / "sources" / "storm1996"
    sources.mkdir(parents=True)
    (sources / "storm1996_6h.nc").touch()
    done = run("init", tmp_path / "p")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"Next: ml-suite validate {tmp_path / 'p'}"
    monkeypatch.chdir(tmp_path)
    return tmp_path / "p"


def test_init_writes_a_valid_project_with_the_editor_s_line(project: Path) -> None:
    assert (project / "deployment.yaml").read_text().splitlines()[0] == HEADER
    schema = re.search(r"\$schema=(\S+)", HEADER)
    assert schema is not None
    assert json.loads((project / schema[1]).read_text()) == json_schema()
    done = run("validate", project)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "p/deployment.yaml is valid: 12 trials, 2 retrained, 1 host",
        "Next: ml-suite plan p/deployment.yaml",
    ]
    assert "note: the search space is not checked" in done.stderr


def test_init_never_overwrites(project: Path) -> None:
    (project / "deployment.yaml").unlink()
    (project / "training" / "storm.yaml").write_text("mine\n")
    done = run("init", project)
    assert done.exit_code == 1
    assert "already has training/storm.yaml" in done.stderr
    assert not (project / "deployment.yaml").exists()
    assert (project / "training" / "storm.yaml").read_text() == "mine\n"


def test_validate_reports_errors_and_exits_2(project: Path) -> None:
    file = project / "deployment.yaml"
    file.write_text(file.read_text().replace("subset", "subsets").replace("10m", "10"))
    done = run("validate", file)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "unknown key 'subsets'" in done.stderr
    assert done.stderr.endswith("2 errors in p/deployment.yaml\n")


def test_validate_reports_what_the_file_refers_to(project: Path) -> None:
    file = project / "deployment.yaml"
    file.write_text(file.read_text().replace("parts: 2", "parts: 20"))
    done = run("validate", file)
    assert done.exit_code == 2
    assert "p/deployment.yaml:8:10: error: 20 load tasks cannot share 8 groups" in done.stderr


def test_validate_as_json_has_stable_keys(project: Path) -> None:
    file = project / "deployment.yaml"
    good = json.loads(run("validate", file, "--json").stdout)
    assert (good["valid"], good["suite"]) == (True, "demo")
    file.write_text(file.read_text().replace("10m", "10"))
    done = run("validate", file, "--json")
    assert done.exit_code == 2
    bad = json.loads(done.stdout)
    assert set(bad) == {"file", "valid", "suite", "findings"}
    (finding,) = bad["findings"]
    assert finding == {
        "severity": "error",
        "file": "p/deployment.yaml",
        "line": 12,
        "column": finding["column"],
        "key": "training.resources.walltime",
        "message": "write a duration as a number and a unit: 30m, 12h, 1d",
        "hint": None,
    }


def test_validate_shows_defaults_as_a_deployment(project: Path, tmp_path: Path) -> None:
    done = run("validate", project, "--show-defaults")
    assert done.exit_code == 0
    whole = tmp_path / "whole.yaml"
    whole.write_text(done.stdout)
    assert "sampling: random" in done.stdout
    assert parse(load(whole)) == parse(load(project / "deployment.yaml"))


@pytest.mark.parametrize(
    ("name", "told"), [("none.yaml", "there is no file"), (".", "has no deployment.yaml")]
)
def test_a_deployment_that_is_not_there_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("validate", name)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "ml-suite init" in done.stderr


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(inner)


def test_the_schema_is_closed_and_described() -> None:
    schema = json.loads(run("schema").stdout)
    for node in nodes(schema):
        if node.get("type") == "object" and "properties" in node:
            assert node["additionalProperties"] is False
        assert node.get("type") != "null"
    assert schema["$defs"]["Step1"]["properties"]["shards"]["description"].startswith("Jobs that share")
    ranges = [case["required"] for case in schema["$defs"]["Dimension"]["oneOf"]]
    assert ranges == [["choice"], ["int"], ["float"], ["log"]]
    assert schema["required"] == ["suite", "dataset", "training", "hosts", "outputs"]


def test_the_schema_of_a_study_file_has_no_more_than_a_study_file() -> None:
    schema = json.loads(run("schema", "study").stdout)
    for node in nodes(schema):
        if node.get("type") == "object" and "properties" in node:
            assert node["additionalProperties"] is False
        if isinstance(reference := node.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in schema["$defs"]
    assert schema["required"] == ["study", "data", "training", "hpo"]
    assert "shards" not in schema["$defs"]["Step1"]["properties"]
    assert {"type": "integer", "minimum": 1} in schema["$defs"]["Step2"]["properties"]["keep"]["anyOf"]
    assert json.loads(run("schema").stdout)["$defs"]["Step1"]["properties"]["shards"]


def test_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    listed = json.loads(run("hosts", "list", "--json").stdout)
    assert "local" in [host["name"] for host in listed]
    assert {"leonardo", "lumi"} < {host["name"] for host in listed}
    (leonardo,) = [host for host in listed if host["name"] == "leonardo"]
    assert (leonardo["login"], leonardo["lifetime"], leonardo["callback"]) == ("certificate", "12h", "spool")
    assert "this machine" in run("hosts", "list").stdout
    shown = json.loads(run("hosts", "show", "local", "--json").stdout)
    assert (shown["callback"], shown["scheduler"]) == ("direct", "local")
    assert isinstance(shown["gpus_per_node"], int)
    assert "work: {ml_suite_home}/work" in run("hosts", "show", "local").stdout
    shown = run("hosts", "show", "leonardo").stdout
    assert "  lifetime: 12h\n" in shown
    assert "  compute: no\n" in shown
    assert "by_name: no" not in shown, "only what the file says"
    unknown = run("hosts", "show", "locla")
    assert unknown.exit_code == 2
    assert "did you mean 'local'?" in unknown.stderr


def test_a_job_is_shown_as_a_host_would_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    words = ("hosts", "show", "leonardo", "--gpus", "16", "--walltime", "30h", "--account", "p")
    job = json.loads(run(*words, "--json").stdout)
    assert (job["nodes"], job["ranks"], job["jobs"]) == (4, 16, ["1d", "6h15m"])
    assert job["cost"] == "3,872 core-hours"
    assert "#SBATCH --account=p" in job["directives"]
    assert "  #SBATCH --gres=gpu:4\n" in run(*words).stdout
    for wrong, told in (
        ("leonardo --gpus 5", "cannot be shared evenly"),
        ("local --gpus 1", "has no queues"),
    ):
        refused = run("hosts", "show", *wrong.split())
        assert refused.exit_code == 2
        assert told in refused.stderr
    assert "30m, 12h, 1d" in run("hosts", "show", "lumi", "--gpus", "1", "--walltime", "12").stderr
