"""The suite: its tree, its limits, its order, and that it cannot deadlock."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import ecflow
import pytest

from ml_suite.suite.build import Built, build
from tests.suite.conftest import NAME, deployment, nowhere, places, resolve

FAMILY = f"/storm_demo/main/datasets/{NAME.replace('-', '_')}"


def find(built: Built, path: str) -> ecflow.Node:
    node = built.defs.find_abs_node(path)
    assert node is not None, f"{path} is missing"
    return node


def paths(built: Built) -> set[str]:
    return {n.get_abs_node_path() for n in built.defs.get_all_nodes()}


def test_tree_has_the_families_that_operators_know(built: Built) -> None:
    suite = built.defs.find_suite("storm_demo")
    assert [n.name() for n in suite.nodes] == ["setup", "admin", "main", "lag"]
    wanted = ["init", "load_1", "load_2", "load_3", "check", "finalise", "register", "upload"]
    assert [n.name() for n in find(built, FAMILY).nodes] == [*wanted, "transfer_near", "transfer_far_away"]
    assert [n.name() for n in find(built, "/storm_demo/main/hpo").nodes] == [
        "plan",
        "step1",
        "shortlist",
        "step2",
        "select",
    ]
    assert [n.name() for n in find(built, "/storm_demo/main/hpo/step2").nodes] == [
        "candidate_1",
        "candidate_2",
        "deliver",
    ]


def test_shards_are_dealt_to_hosts_in_turn_and_count_against_their_limit(built: Built) -> None:
    hosts = []
    for i in range(12):
        shard = find(built, f"/storm_demo/main/hpo/step1/shard_{i:02d}")
        hosts.append(shard.find_variable("ML_SUITE_HOST").value())
        assert [i.name() for i in shard.inlimits] == [hosts[-1].replace("-", "_")]
        assert shard.find_variable("ECF_TRIES").value() == "1", "a training is not repeated without a person"
    assert hosts == ["near", "far-away"] * 6
    limits = {limit.name(): limit.limit() for limit in built.defs.find_suite("storm_demo").limits}
    assert limits == {"near": 2, "far_away": 4, "deliver": 1}


def test_without_hpo_there_is_one_training(tmp_path: Path, scripts: Path) -> None:
    built = build(resolve(deployment(hpo=None), tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
    assert find(built, "/storm_demo/main/training/train").find_variable("ECF_TRIES").value() == "1"
    assert not any("/hpo" in p for p in paths(built))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator leaves its analysis in the current folder."""
    monkeypatch.chdir(tmp_path)


def simulate(built: Built) -> str:
    """Problems that ecFlow's simulator finds when each task has to complete once; the endless cron is taken out.

    In a process of its own: the simulator takes over the children of its process for good.
    """
    for node in built.defs.get_all_tasks():
        if "/admin/" in node.get_abs_node_path():
            node.delete_cron("")
            node.add_defstatus(ecflow.DState.complete)
            continue
        node.add_verify(ecflow.Verify(ecflow.State.complete, 1))
    built.defs.save_as_defs("simulated.def")
    code = "import ecflow; print(ecflow.Defs('simulated.def').simulate())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.usefixtures("elsewhere")
def test_every_task_completes_exactly_once_in_the_simulator(built: Built) -> None:
    assert simulate(built) == ""


@pytest.mark.usefixtures("elsewhere")
def test_simulator_would_see_a_deadlock(built: Built) -> None:
    find(built, f"{FAMILY}/check").change_trigger("load_1 == aborted")
    assert "has not completed" in simulate(built)


def test_every_script_has_a_manual_with_purpose_criticality_and_remedy(built: Built) -> None:
    scripts = [name for name in built.files if name.endswith(".ecf")]
    assert len(scripts) >= 18
    for name in scripts:
        manual = re.search(r"%manual\n(.*?)%end", built.files[name], re.DOTALL)
        assert manual, name
        for part in ("PURPOSE", "CRITICAL", "WHEN IT FAILS"):
            assert re.search(rf"{part}\n  \S", manual[1]), f"{name} lacks {part}"


def test_every_task_has_its_script(built: Built) -> None:
    for task in built.defs.get_all_tasks():
        assert f"{task.find_variable('ML_SUITE_SCRIPT').value()}.ecf" in built.files
    used = {t.find_variable("ML_SUITE_SCRIPT").value() for t in built.defs.get_all_tasks()}
    assert {n.removesuffix(".ecf") for n in built.files if n.endswith(".ecf")} - used == {
        "train",
        "collect",
        "study_finalists",
        "study_final",
        "study_ask",
        "study_pilot",
        "study_judge",
    }


def test_generated_jobs_are_valid_bash(built: Built) -> None:
    """Expand what ecFlow would, then let bash and shellcheck read the result."""
    head, tail = built.files["include/head.h"], built.files["include/tail.h"]
    for name, text in built.files.items():
        if not name.endswith(".ecf"):
            continue
        body = re.sub(r"%manual.*?%end\n", "", text, flags=re.DOTALL)
        body = body.replace("%include <head.h>", head).replace("%include <tail.h>", tail)
        job = re.sub(r"%([A-Z_0-9]+)(:[^%]*)?%", "value", body).replace("%%", "%")
        assert "%include" not in job, name
        assert not re.search(r"%[A-Z_]", job), name
        done = subprocess.run(["bash", "-n"], input=job, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.parametrize("count", [1, 9, 250])
def test_names_sort_as_they_run(tmp_path: Path, scripts: Path, count: int) -> None:
    hpo = deployment().hpo
    assert hpo is not None
    step1 = hpo.step1.model_copy(update={"trials": max(count, 2), "shards": count})
    changed = deployment().model_copy(update={"hpo": hpo.model_copy(update={"step1": step1})})
    built = build(resolve(changed, tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
    names = [
        n.name() for n in find(built, "/storm_demo/main/hpo/step1").nodes if n.name().startswith("shard")
    ]
    assert len(names) == count
    assert names == sorted(names)
