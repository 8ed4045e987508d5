"""A suite over other machines: what runs beside the server, what is submitted, what waits for a login."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import ecflow
import pytest

from ml_suite.errors import ConfigError
from ml_suite.hosts.facts import Auth, Endpoint, Partition, Paths
from ml_suite.hosts.host import Host
from ml_suite.hosts.jobhost import load
from ml_suite.suite.build import Built, build
from ml_suite.suite.facts import Here, facts
from tests.suite.conftest import NAME, deployment, places, resolve

CLUSTER = Host(
    title="a cluster",
    auth=Auth(kind="key"),
    callback="spool",
    scheduler="slurm",
    control=Endpoint(address="login.example.org"),
    gpus_per_node=4,
    gpu_request="gres",
    cores_per_node=64,
    partitions={"gpu": Partition(max_walltime=timedelta(hours=1), whole_nodes=True)},
    paths=Paths(work="/work", environment="/env"),
)
FILES = {"resolved.json": "{}", "training/storm.yaml": "a: 1\n"}


def made(tmp_path: Path, scripts: Path, **changes: object) -> Built:
    values: dict[str, object] = {
        "hosts": {"near": {"account": "a1"}, "far-away": {"account": "a2", "server": "ops.example.org:3141"}},
        "training": {
            "config": "training/storm.yaml",
            "resources": {"walltime": "2h", "gpus": 8},
            "epochs": 6,
        },
    }
    asked = deployment(**{**values, **changes})
    resolved = resolve(asked, tmp_path, remote=list(asked.hosts))
    here = Here(tmp_path, tmp_path / "lib" / "abc", "ops")
    hosts = facts(resolved, dict.fromkeys(asked.hosts, CLUSTER), FILES, here)
    return build(resolved, places(tmp_path), scripts, hosts)


@pytest.fixture
def remote(tmp_path: Path, scripts: Path) -> Built:
    return made(tmp_path, scripts)


def find(built: Built, path: str) -> ecflow.Node:
    node = built.defs.find_abs_node(f"/storm_demo/{path}")
    assert node is not None, f"{path} is missing"
    return node


def value(node: ecflow.Node, name: str) -> str:
    return str(node.find_variable(name).value())


def test_only_trainings_are_submitted_to_the_machines(remote: Built) -> None:
    submitted = {
        task.name()
        for task in remote.defs.get_all_tasks()
        if task.find_variable("ML_SUITE_SCHEDULER").value() == "slurm"
    }
    assert {name.partition("_")[0] for name in submitted} == {"shard", "candidate"}
    for path in ("setup/near", "main/hpo/plan", "main/hpo/step1/collect_near", "main/evaluate"):
        assert value(find(remote, path), "ML_SUITE_HOST") == "local", path


def test_an_operator_can_change_what_is_asked_of_the_scheduler(remote: Built) -> None:
    shard = find(remote, "main/hpo/step1/shard_00")
    names = ("NODES", "TASKS_PER_NODE", "GPUS_PER_NODE", "CPUS_PER_TASK", "WALLTIME", "ACCOUNT", "PARTITION")
    assert [value(shard, name) for name in names] == ["2", "4", "4", "16", "2h", "a1", "gpu"]
    assert value(shard, "ML_SUITE_INPUTS") == "suites/storm-demo/once/study/plan.json"
    assert value(find(remote, "main/hpo/step2/candidate_1"), "ML_SUITE_INPUTS").endswith("shortlist.json")


def test_everything_that_needs_a_machine_waits_while_it_needs_a_login(remote: Built) -> None:
    held = {
        "setup/near",
        f"main/datasets/{NAME.replace('-', '_')}/transfer_near",
        "main/hpo/step1/shard_00",
        "main/hpo/step1/collect_near",
        "main/hpo/step2/candidate_1",
        "main/hpo/step2/collect_near",
    }
    for path in held:
        limits = [(limit.path_to_node(), limit.name()) for limit in find(remote, path).inlimits]
        assert ("/ml_suite/near", "open") in limits, path
    for path in ("setup/local", "main/hpo/plan", "main/hpo/shortlist", "main/register"):
        assert all(limit.name() != "open" for limit in find(remote, path).inlimits), path
    assert "/ml_suite/far_away:open" in set(remote.defs.externs)


def test_what_a_machine_trained_is_brought_home_before_it_is_looked_at(remote: Built) -> None:
    collect = find(remote, "main/hpo/step1/collect_far_away")
    # the limits of the hosts, 4 each, give 12 shards as stated
    assert value(collect, "WHAT") == "--step 1 --shards 1,3,5,7,9,11"
    assert "collect_far_away == complete" in str(find(remote, "main/hpo/shortlist").get_trigger())
    assert "collect_near == complete" in str(find(remote, "main/hpo/select").get_trigger())


def test_a_single_training_is_brought_home_too(tmp_path: Path, scripts: Path) -> None:
    built = made(tmp_path, scripts, hpo=None)
    assert value(find(built, "main/training/collect_near"), "WHAT") == "--step 0"
    assert "collect_near == complete" in str(find(built, "main/evaluate").get_trigger())


def test_facts_survive_their_file(tmp_path: Path) -> None:
    asked = deployment(hosts={"far-away": {"server": "ops.example.org:3141", "account": "a"}})
    resolved = resolve(asked, tmp_path, remote=["far-away"])
    here = Here(tmp_path, tmp_path / "lib" / "abc", "ops")
    given = facts(resolved, {"far-away": CLUSTER}, FILES, here)
    given.save(tmp_path / "hosts.json")
    assert load(tmp_path / "hosts.json") == given
    host = given.host("far-away")
    assert (host.server, host.port) == ("ops.example.org", 3141)
    assert host.library == tmp_path / "far-away" / "lib" / "abc"
    assert host.resources["shard"].longest == "1h"
    assert host.resources["shard"].exclusive
    other = facts(resolved, {"far-away": CLUSTER}, {**FILES, "resolved.json": "{} "}, here)
    assert other.host("far-away").files != host.files, "running jobs keep the files they began with"


def test_a_job_that_no_queue_takes_is_refused(tmp_path: Path, scripts: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be shared evenly"):
        made(
            tmp_path,
            scripts,
            training={"config": "training/storm.yaml", "resources": {"walltime": "2h", "gpus": 7}},
        )


def test_a_machine_that_cannot_be_reached_holds_up_nothing_but_its_own_trainings(remote: Built) -> None:
    family = f"/storm_demo/main/datasets/{NAME.replace('-', '_')}"
    trigger = {
        path: str(find(remote, path).get_trigger())
        for path in ("main", "main/hpo", "main/hpo/step1/shard_00", "main/hpo/step1/shard_01")
    }
    assert trigger == {
        "main": "setup/local == complete",
        "main/hpo": f"{family}/upload == complete",
        "main/hpo/step1/shard_00": f"{family}/transfer_near == complete",
        "main/hpo/step1/shard_01": f"{family}/transfer_far_away == complete",
    }
    transfer = find(remote, f"{family.removeprefix('/storm_demo/')}/transfer_near")
    assert "/storm_demo/setup/near == complete" in str(transfer.get_trigger())
