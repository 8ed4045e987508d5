"""The family of a search that uses all of its options, here and on other machines."""

from __future__ import annotations

from pathlib import Path

import ecflow
import pytest

from ml_suite.suite.build import Built, build
from tests.suite.conftest import deployment, nowhere, places, resolve
from tests.suite.test_build import simulate
from tests.suite.test_remote import made

HPO = {
    "metric": "val_loss",
    "seed": 7,
    "sampling": "sobol",
    "space": {
        "training.optimization.lr": {"log": [1e-4, 1e-2]},
        "model.num_channels": {"choice": [16, 32]},
    },
    "constraints": ["model_num_channels <= 32"],
    "step1": {
        "trials": 40,
        "subset": "10%",
        "block": "3d",
        "shards": 12,
        "epochs": 8,
        "patience": "40 steps",
        "rungs": {"at": [2, 4], "keep": "50%", "cohort": 8},
    },
    "step2": {
        "keep": "10%",
        "filter": "model_num_channels > 16",
        "controls": 2,
        "finalists": 2,
        "replicates": 3,
        "epochs": 12,
        "patience": "4 epochs",
        "select": "lightest within 5%",
    },
}


def names(built: Built, path: str) -> list[str]:
    return [node.name() for node in node_of(built, path).nodes]


def node_of(built: Built, path: str) -> ecflow.Node:
    node = built.defs.find_abs_node(f"/storm_demo/main/hpo{path}")
    assert node is not None, path
    return node


def trigger(built: Built, path: str) -> str:
    return node_of(built, path).get_trigger().get_expression()


@pytest.fixture
def whole(tmp_path: Path, scripts: Path) -> Built:
    """A search with all options on two hosts."""
    asked = deployment(hpo=HPO)
    return build(resolve(asked, tmp_path), places(tmp_path), scripts, nowhere(tmp_path))


def test_the_family_has_finalists_between_step_2_and_the_winner(whole: Built) -> None:
    assert names(whole, "") == ["plan", "step1", "shortlist", "step2", "finalists", "select"]
    # four are kept, two from the middle of the ranking are trained beside them
    assert names(whole, "/step2") == [*(f"candidate_{i}" for i in range(1, 7)), "deliver"]
    assert names(whole, "/finalists") == [
        "choose",
        "finalist_1_1",
        "finalist_1_2",
        "finalist_2_1",
        "finalist_2_2",
    ]
    again = node_of(whole, "/finalists/finalist_2_1")
    told = {v.name(): v.value() for v in again.variables}
    assert (told["FINALIST"], told["REPLICATE"], told["ECF_TRIES"]) == ("2", "1", "1")
    assert "choose == complete" in trigger(whole, "/finalists/finalist_2_1")
    assert "step2/candidate_6 == complete" in trigger(whole, "/finalists")
    assert trigger(whole, "/select") == "finalists == complete"


def test_a_cohort_is_not_parted_among_jobs(whole: Built) -> None:
    assert names(whole, "/step1") == [*(f"shard_{i}" for i in range(5)), "deliver"]


def test_a_narrower_search_has_a_task_for_each_trial_and_the_best_candidate(
    tmp_path: Path, scripts: Path
) -> None:
    hpo = {**HPO, "step2": {"keep": "10%", "narrow": 5}}
    built = build(resolve(deployment(hpo=hpo), tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
    assert names(built, "/step2") == [*(f"candidate_{i}" for i in range(1, 7)), "deliver"]
    assert names(built, "") == ["plan", "step1", "shortlist", "step2", "select"]


def test_the_suite_cannot_deadlock(whole: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the simulator leaves its analysis in the current folder
    assert simulate(whole) == ""


def test_results_of_finalists_on_another_machine_are_brought_home(tmp_path: Path, scripts: Path) -> None:
    built = made(tmp_path, scripts, hpo={**HPO, "step2": {**HPO["step2"], "hosts": ["far-away"]}})  # type: ignore[dict-item]
    collect = node_of(built, "/finalists/collect_far_away")
    what = collect.find_variable("WHAT").value()
    assert what == "--step 2 --finals 1:1,1:2,2:1,2:2"
    assert "finalist_2_2 == complete" in trigger(built, "/finalists/collect_far_away")
    inputs = node_of(built, "/finalists/finalist_1_1").find_variable("ML_SUITE_INPUTS").value()
    assert [Path(name).name for name in inputs.split(",")] == ["plan.json", "finalists.json"]
    assert node_of(built, "/step2/collect_far_away").find_variable("WHAT").value() == (
        "--step 2 --ranks 1,2,3,4,5,6"
    )


@pytest.fixture
def rounds(tmp_path: Path, scripts: Path) -> Built:
    """A search whose trials are drawn in rounds, on two other machines."""
    hpo = {**HPO, "sampling": {"optuna": "tpe", "rounds": 3}}
    return made(tmp_path, scripts, hpo=hpo)


def test_a_sampler_is_asked_beside_the_server_before_each_round(rounds: Built) -> None:
    # whole cohorts of eight are drawn together: two in the first two rounds, one in the last
    assert names(rounds, "/step1") == ["round_1", "round_2", "round_3", "deliver"]
    assert names(rounds, "/step1/round_2") == ["ask", *(f"shard_{i}" for i in range(5)), "collect"]
    assert trigger(rounds, "/step1/round_2") == "round_1 == complete"
    ask = {v.name(): v.value() for v in node_of(rounds, "/step1/round_2/ask").variables}
    assert (ask["ROUND"], ask["ML_SUITE_HOST"]) == ("1", "local")
    assert ask["ML_SUITE_PYTHON"] == "%ML_SUITE_OPS_PYTHON%"
    shard = {v.name(): v.value() for v in node_of(rounds, "/step1/round_2/shard_1").variables}
    assert (shard["SHARD"], shard["ROUND"]) == ("1", "1")
    assert [Path(name).name for name in shard["ML_SUITE_INPUTS"].split(",")] == [
        "plan.json",
        "000.json",
        "001.json",
    ]
    assert "ask == complete" in trigger(rounds, "/step1/round_2/shard_1")
    what = node_of(rounds, "/step1/round_2/collect").find_variable("WHAT").value()
    assert what == "--step 1 --round 1 --shards 0,1,2,3,4"
    assert trigger(rounds, "/shortlist") == (
        "step1/round_1 == complete and step1/round_2 == complete and step1/round_3 == complete"
    )


AUTO = {
    **HPO,
    "step1": {**HPO["step1"], "subset": "auto", "hosts": ["near"]},  # type: ignore[dict-item]
    "step2": {"keep": "auto", "controls": 1, "finalists": 2, "replicates": 2},
    "pilot": {"configurations": 12, "budget": "15%"},
}


def told(built: Built, path: str) -> dict[str, str]:
    return {v.name(): v.value() for v in node_of(built, path).variables}


def test_a_pilot_comes_between_the_plan_and_step_1(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(resolve(deployment(hpo=AUTO), tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
    assert names(built, "") == ["plan", "pilot", "step1", "shortlist", "step2", "finalists", "select"]
    assert names(built, "/pilot") == ["train", "judge"]
    assert trigger(built, "/pilot") == "plan == complete"
    assert trigger(built, "/step1") == "pilot == complete"
    assert trigger(built, "/pilot/judge") == "train == complete"
    train, judge = told(built, "/pilot/train"), told(built, "/pilot/judge")
    assert (train["ML_SUITE_SCRIPT"], train["ML_SUITE_HOST"], train["ECF_TRIES"]) == (
        "study_pilot",
        "near",
        "1",
    )
    # numpy is in ml-suite's own environment, whatever that of the trainings has
    assert judge["ML_SUITE_PYTHON"] == told(built, "/select")["ML_SUITE_PYTHON"] == "%ML_SUITE_OPS_PYTHON%"
    # as many as 15 % of 40 trials could pay, and a control
    assert names(built, "/step2") == [*(f"candidate_{i}" for i in range(1, 8)), "deliver"]
    monkeypatch.chdir(tmp_path)
    assert simulate(built) == ""


def test_a_search_that_states_everything_has_a_pilot_when_it_asks_for_one(
    tmp_path: Path, scripts: Path
) -> None:
    asked = deployment(hpo={**HPO, "pilot": {}})
    built = build(resolve(asked, tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
    assert names(built, "")[:3] == ["plan", "pilot", "step1"]
    assert names(built, "/step2") == [*(f"candidate_{i}" for i in range(1, 7)), "deliver"]


def test_the_pilot_on_another_machine_is_brought_home(tmp_path: Path, scripts: Path) -> None:
    step1 = {**HPO["step1"], "hosts": ["far-away"]}  # type: ignore[dict-item]
    built = made(tmp_path, scripts, hpo={**HPO, "step1": step1, "pilot": {}})
    assert names(built, "/pilot") == ["train", "collect_far_away", "judge"]
    assert told(built, "/pilot/collect_far_away")["WHAT"] == "--step 1 --pilot"
    assert trigger(built, "/pilot/judge") == "train == complete and collect_far_away == complete"
    assert told(built, "/pilot/train")["ML_SUITE_INPUTS"].endswith("study/pilot/plan.json")
    assert told(built, "/pilot/train")["ML_SUITE_RESOURCES"] == "shard"
