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
FAMILY = f"main/datasets/{NAME.replace('-', '_')}"
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
    """Trials on two machines, the best on one of them."""
    asked = deployment().model_dump(mode="json", exclude_none=True)["hpo"]
    asked["step2"]["hosts"] = ["far-away"]
    return made(tmp_path, scripts, hpo=asked)


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
    for path in ("setup/near", "main/hpo/plan", "main/hpo/step1/collect", "main/evaluate"):
        assert value(find(remote, path), "ML_SUITE_HOST") == "local", path


def test_an_operator_can_change_what_is_asked_of_the_scheduler(remote: Built) -> None:
    names = ("NODES", "TASKS_PER_NODE", "GPUS_PER_NODE", "CPUS_PER_TASK", "WALLTIME", "ACCOUNT", "PARTITION")
    candidate = find(remote, "main/hpo/step2/candidate_1")
    assert [value(candidate, name) for name in names] == ["2", "4", "4", "16", "2h", "a2", "gpu"]
    assert value(candidate, "ML_SUITE_INPUTS").endswith("study/shortlist.json")
    shard = find(remote, "main/hpo/step1/shard_00")
    unknown = [value(shard, name) for name in names]
    assert unknown == ["", "", "", "", "2h", "", ""], "its host is not known yet"
    assert shard.find_variable("GPUS").empty(), "a scheduler is asked for nodes"
    assert value(shard, "ML_SUITE_INPUTS") == "suites/storm-demo/once/study/plan.json"


def test_everything_that_needs_a_machine_waits_while_it_needs_a_login(remote: Built) -> None:
    held = {
        "setup/near": "near",
        f"{FAMILY}/transfer_near": "near",
        "main/hpo/step2/candidate_1": "far_away",
        "main/hpo/step2/collect_far_away": "far_away",
    }
    for path, host in held.items():
        limits = [(limit.path_to_node(), limit.name()) for limit in find(remote, path).inlimits]
        assert (f"/ml_suite/{host}", "open") in limits, path
    for path in ("setup/local", "main/hpo/plan", "main/hpo/shortlist", "main/register"):
        assert all(limit.name() != "open" for limit in find(remote, path).inlimits), path
    assert {"/ml_suite/far_away:open", "/ml_suite/near:closed"} <= set(remote.defs.externs)


def test_a_trial_waits_until_one_of_its_machines_has_the_data_and_is_open(remote: Built) -> None:
    shard = find(remote, "main/hpo/step1/shard_00")
    near, far = (
        f"(/storm_demo/{FAMILY}/transfer_{host} == complete and /ml_suite/{host}:closed == clear)"
        for host in ("near", "far_away")
    )
    assert str(shard.get_trigger()) == f"{near} or {far}"
    assert value(shard, "ML_SUITE_PLACES") == "near,far-away"
    assert [limit.name() for limit in shard.inlimits] == ["placed"]
    limits = {limit.name(): limit.limit() for limit in remote.defs.find_suite("storm_demo").limits}
    assert limits["placed"] == limits["near"] + limits["far_away"]
    assert [label.name() for label in shard.labels] == ["job", "place", "best"]


def test_what_the_machines_trained_is_brought_home_before_it_is_looked_at(remote: Built) -> None:
    collect = find(remote, "main/hpo/step1/collect")
    assert value(collect, "WHAT") == f"--step 1 --shards {','.join(map(str, range(12)))}"
    assert value(collect, "TARGET") == "near,far-away"
    assert value(find(remote, "main/hpo/step2/collect_far_away"), "WHAT") == "--step 2 --ranks 1,2"
    assert "step1/collect == complete" in str(find(remote, "main/hpo/shortlist").get_trigger())
    assert "step2/collect_far_away == complete" in str(find(remote, "main/hpo/select").get_trigger())


def test_a_single_training_is_brought_home_too(tmp_path: Path, scripts: Path) -> None:
    built = made(tmp_path, scripts, hpo=None)
    assert value(find(built, "main/training/collect_near"), "WHAT") == "--step 0"
    assert "collect_near == complete" in str(find(built, "main/evaluate").get_trigger())


def test_a_machine_that_cannot_be_reached_holds_up_nothing_but_its_own_trainings(remote: Built) -> None:
    trigger = {
        path: str(find(remote, path).get_trigger())
        for path in ("main", "main/hpo", "main/hpo/step2/candidate_1", f"{FAMILY}/transfer_near")
    }
    assert trigger == {
        "main": "setup/local == complete",
        "main/hpo": f"/storm_demo/{FAMILY}/upload == complete",
        "main/hpo/step2/candidate_1": f"/storm_demo/{FAMILY}/transfer_far_away == complete",
        f"{FAMILY}/transfer_near": "upload == complete and /storm_demo/setup/near == complete",
    }


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


def test_a_server_on_loopback_is_not_what_jobs_elsewhere_are_told(tmp_path: Path) -> None:
    asked = deployment(hosts={"far-away": {"account": "a"}})
    resolved = resolve(asked, tmp_path, remote=["far-away"])
    direct = resolved.hosts["far-away"].model_copy(update={"spool": None})
    resolved = resolved.model_copy(update={"hosts": {**resolved.hosts, "far-away": direct}})
    here = Here(tmp_path, tmp_path / "lib" / "abc", "localhost")
    with pytest.raises(ConfigError, match="on their own node") as refused:
        facts(resolved, {"far-away": CLUSTER}, FILES, here)
    assert "server: NAME:PORT" in (refused.value.hint or "")
