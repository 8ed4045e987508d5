"""What a job asks for, read from its script, and what becomes of it."""

from __future__ import annotations

import doctest
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from ml_suite.errors import ConfigError
from ml_suite.hosts import chain, jobfile, order, sbatch
from ml_suite.hosts.jobhost import Ask, JobHost
from ml_suite.hosts.order import key_of, read, times
from ml_suite.hosts.submission import directives


def script(**lines: str) -> str:
    said = {"facts": "/f/hosts.json", "host": "big", "resources": "shard", **lines}
    return "#!/bin/bash\n" + "".join(f"#: {name} {value}\n" for name, value in said.items()) + "echo\n"


def host(**ask: object) -> JobHost:
    paths = [Path(p) for p in ("/w", "/w/python", "/w/lib/a", "/lib/a", "/w/f", "/f")]
    return JobHost(*paths, (), gpu_request="gres", resources={"shard": Ask(**ask)})  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [chain, jobfile, order, sbatch], ids=lambda m: m.__name__)
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_what_the_operator_left_empty_is_the_deployments() -> None:
    ask = read(script(nodes="", walltime="", account="")).ask(host(nodes=2, walltime="5h", account="a"))
    assert ask == Ask(nodes=2, walltime="5h", account="a")


def test_what_the_operator_changed_wins() -> None:
    changed = read(script(nodes="4", gpus_per_node="0", walltime="2h", qos="debug"))
    ask = changed.ask(host(nodes=2, gpus_per_node=4, walltime="5h", account="a"))
    assert ask == Ask(nodes=4, gpus_per_node=0, walltime="2h", qos="debug", account="a")


def test_a_changed_walltime_is_a_chain_again() -> None:
    asked = read(script(walltime="60h")).ask(host(walltime="10h", longest="1d"))
    assert times(asked) == [timedelta(days=1), timedelta(days=1), timedelta(hours=12, minutes=30)]


def test_several_hosts_and_inputs() -> None:
    ordered = read(script(host="big, small", inputs="a/b.json,c.json"))
    assert (ordered.hosts, ordered.inputs) == (("big", "small"), ("a/b.json", "c.json"))


@pytest.mark.parametrize(
    "lines",
    [
        {"host": ""},
        {"nodes": "0"},
        {"nodes": "-1"},
        {"cpus_per_task": "x"},
        {"inputs": "/etc/passwd"},
        {"inputs": "a/../../b"},
        {"sbatch": "--job-name=x"},
        {"sbatch": "-Jx"},
        {"sbatch": "--mem=0 -a 1-4"},
        {"sbatch": "hello"},
        {"sbatch": "--comment='x"},
    ],
)
def test_what_cannot_be(lines: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        read(script(**lines))


def test_lines_of_a_job() -> None:
    ask = Ask(2, 4, 4, 8, "30m", "1d", "gpu", "long", "p1", exclusive=True)
    found = directives(
        ask, host(), Path("/w/jobs/s.t.1.abc"), timedelta(minutes=30), "--mem=0 --reservation=x"
    )
    assert found == [
        "#SBATCH --job-name=s.t.1.abc",
        "#SBATCH --account=p1",
        "#SBATCH --partition=gpu",
        "#SBATCH --qos=long",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gres=gpu:4",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --time=00:30:00",
        "#SBATCH --output=/w/jobs/s.t.1.abc/output",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --exclusive",
        "#SBATCH --open-mode=append",
        "#SBATCH --no-requeue",
        "#SBATCH --mem=0 --reservation=x",
    ]


def test_a_value_that_breaks_out_of_its_line() -> None:
    with pytest.raises(ConfigError, match="cannot stand in a directive"):
        directives(Ask(account='a"b'), host(), Path("/w/jobs/k"), timedelta(minutes=30))


@pytest.mark.parametrize("path", ["/s/t", "/a/b/c d/é*", "/" + "x" * 300 + "/" + "y" * 300])
def test_keys_are_names_of_files_and_of_jobs(path: str) -> None:
    key = key_of(path, "12", "pass")
    assert len(key) <= 100
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert key != key_of(path, "12", "other")
    assert key != key_of(path, "13", "pass")
