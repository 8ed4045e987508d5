"""The graph, from entries recorded off a real run of the demo."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ml_suite.lineage.chain import build
from ml_suite.lineage.graph import Graph, Kind
from ml_suite.lineage.records import Records, Run, mentions
from ml_suite.lineage.training import TrainingMetadata, entry_uuid
from ml_suite.lineage.tree import draw

RECORDED = json.loads((Path(__file__).parent / "recorded" / "demo.json").read_text())
TRAINING = RECORDED["trainings"][0]
DATASET = TRAINING["datasets"][0]["uuid"]
WEIGHTS = TRAINING["checkpoint"]["uuid"]
RUN = TRAINING["mlflow"]["run_id"]


@pytest.fixture
def recorded() -> dict[str, Any]:
    return copy.deepcopy(RECORDED)


def records(raw: dict[str, Any], unreachable: str = "") -> Records:
    return Records(
        trainings=[TrainingMetadata.model_validate(t) for t in raw["trainings"]],
        datasets=raw["datasets"],
        weights=raw["weights"],
        runs={key: Run(**run) if run else None for key, run in raw["runs"].items()},
        unreachable=unreachable,
    )


def broken(graph: Graph) -> dict[tuple[str, str], str]:
    return {(e.source.split(":")[0], e.target.split(":")[0]): e.broken for e in graph.broken}


def test_the_recorded_chain_is_whole(recorded: dict[str, Any]) -> None:
    graph = build(records(recorded))
    assert graph.broken == []
    assert all(node.present for node in graph.nodes)
    weights = f"weights:{WEIGHTS}"
    assert {n.kind for n in graph.upstream(weights)} == {
        Kind.RECIPE,
        Kind.CONFIG,
        Kind.DEPLOYMENT,
        Kind.DATASET,
        Kind.STUDY,
        Kind.TRIAL,
        Kind.RUN,
    }
    assert {n.kind for n in graph.downstream(weights)} == {Kind.OBJECT, Kind.EVALUATION, Kind.TRAINING}


def test_every_edge_carries_a_uuid_or_checksum_and_no_name(recorded: dict[str, Any]) -> None:
    names = {TRAINING["name"], TRAINING["datasets"][0]["name"], TRAINING["host"]}
    for edge in build(records(recorded)).edges:
        assert edge.value not in names
        assert len(edge.value) >= 16, edge


def test_the_origin_of_everything_is_the_files(recorded: dict[str, Any]) -> None:
    assert {n.kind for n in build(records(recorded)).roots()} == {Kind.RECIPE, Kind.CONFIG, Kind.DEPLOYMENT}


def test_without_the_dataset_everything_but_the_files_loses_its_origin(recorded: dict[str, Any]) -> None:
    graph = build(records(recorded))
    lost = {n.kind for n in graph.downstream(f"dataset:{DATASET}")}
    assert lost == set(Kind) - {Kind.RECIPE, Kind.CONFIG, Kind.DEPLOYMENT, Kind.DATASET}


def test_a_dataset_that_left_the_catalogue_breaks_its_links(recorded: dict[str, Any]) -> None:
    recorded["datasets"][DATASET] = None
    graph = build(records(recorded))
    assert not graph.node(f"dataset:{DATASET}").present
    assert set(broken(graph)) == {("recipe", "dataset"), ("dataset", "study"), ("dataset", "weights")}


def test_a_dataset_of_another_recipe_is_told_from_its_checksum(recorded: dict[str, Any]) -> None:
    recorded["datasets"][DATASET]["metadata"]["ml_suite"]["recipe"]["sha256"] = "0" * 64
    found = broken(build(records(recorded)))
    assert found == {("recipe", "dataset"): "the dataset's entry does not mention this recipe"}


def test_a_dataset_of_other_content_breaks_the_link_to_its_copies(recorded: dict[str, Any]) -> None:
    recorded["datasets"][DATASET]["metadata"]["ml_suite"]["manifest"] = "0" * 64
    assert set(broken(build(records(recorded)))) == {("dataset", "location")}


def test_weights_that_left_the_catalogue(recorded: dict[str, Any]) -> None:
    recorded["weights"][WEIGHTS] = None
    graph = build(records(recorded))
    assert not graph.node(f"weights:{WEIGHTS}").present
    assert set(broken(graph)) >= {("run", "weights"), ("weights", "object"), ("weights", "training")}


def test_weights_of_another_run(recorded: dict[str, Any]) -> None:
    recorded["weights"][WEIGHTS]["metadata"]["run_id"] = "somebody-else"
    assert broken(build(records(recorded))) == {("run", "weights"): "the checkpoint says run somebody-else"}


def test_weights_of_other_data(recorded: dict[str, Any]) -> None:
    text = json.dumps(recorded["weights"][WEIGHTS]).replace(DATASET, "11111111-2222-3333-4444-555555555555")
    recorded["weights"][WEIGHTS] = json.loads(text)
    graph = build(records(recorded))
    assert not graph.node("dataset:11111111-2222-3333-4444-555555555555").present
    assert broken(graph) == {("dataset", "weights"): "the catalogue does not know it"}
    assert f"dataset:{DATASET}" not in {e.source for e in graph.edges if e.target == f"weights:{WEIGHTS}"}


def test_weights_whose_entry_lists_another_address(recorded: dict[str, Any]) -> None:
    recorded["weights"][WEIGHTS]["locations"]["ewc"]["path"] = "s3://elsewhere/x.ckpt"
    assert set(broken(build(records(recorded)))) == {("weights", "object")}


@pytest.mark.parametrize(
    ("run", "unreachable", "told"),
    [
        (None, "", "MLflow does not know the run"),
        (None, "MLflow at http://x does not answer", "MLflow at http://x does not answer"),
        ({"tags": {}}, "", "the run's tags do not mention the study"),
    ],
)
def test_a_run_that_is_gone_or_another(
    recorded: dict[str, Any], run: dict[str, Any] | None, unreachable: str, told: str
) -> None:
    recorded["runs"][RUN] = run and {**recorded["runs"][RUN], **run}
    assert broken(build(records(recorded, unreachable))) == {("trial", "run"): told}


def test_scores_of_other_bytes(recorded: dict[str, Any]) -> None:
    recorded["trainings"][0]["evaluation"]["weights"]["sha256"] = "0" * 64
    assert broken(build(records(recorded))) == {("weights", "evaluation"): "other bytes were judged"}


def test_only_the_latest_cycle_is_joined_to_the_data_of_now(recorded: dict[str, Any]) -> None:
    """An older version's weights keep their own way to the data: the uuid inside the checkpoint."""
    old = copy.deepcopy(TRAINING["history"][0])
    old |= {"cycle": "before", "study": "0123456789abcdef", "run_id": "older-run"}
    old["checkpoint"] = {
        **old["checkpoint"],
        "uuid": "22222222-2222-3333-4444-555555555555",
        "s3": "s3://w/old.ckpt",
    }
    entry = copy.deepcopy(recorded["weights"][WEIGHTS])
    entry["metadata"]["run_id"] = "older-run"
    entry["locations"]["ewc"]["path"] = "s3://w/old.ckpt"
    recorded["trainings"][0]["history"].insert(0, old)
    recorded["weights"][old["checkpoint"]["uuid"]] = entry
    graph = build(records(recorded))
    assert graph.broken == []
    assert "study:0123456789abcdef" not in {e.target for e in graph.edges}
    assert (f"dataset:{DATASET}", f"weights:{old['checkpoint']['uuid']}") in {
        (e.source, e.target) for e in graph.edges
    }


def test_json_has_stable_keys(recorded: dict[str, Any]) -> None:
    plain = build(records(recorded)).as_json()
    assert set(plain) == {"nodes", "edges"}
    assert all({"id", "kind", "label", "present"} <= set(node) for node in plain["nodes"])
    assert all(set(edge) == {"from", "to", "by", "value", "broken"} for edge in plain["edges"])
    ids = [node["id"] for node in plain["nodes"]]
    assert len(ids) == len(set(ids))
    assert {edge["from"] for edge in plain["edges"]} | {edge["to"] for edge in plain["edges"]} == set(ids)


def test_the_tree_shows_every_node_once_and_says_what_is_broken(recorded: dict[str, Any]) -> None:
    recorded["weights"][WEIGHTS]["metadata"]["run_id"] = "[red]somebody[/red]"
    console = Console(file=io.StringIO(), width=150)
    graph = build(records(recorded))
    for tree in draw(graph):
        console.print(tree)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for node in graph.nodes:
        assert f"{node.kind.value} {node.label}" in text
    assert "broken, the checkpoint says run [red]somebody[/red]" in text


def test_values_are_found_at_any_depth() -> None:
    assert mentions({"a": [{"b": {"c": "x"}}]}, "x")
    assert not mentions({"x": ["xx"]}, "x")


def test_a_suites_entry_has_one_uuid_for_ever() -> None:
    assert entry_uuid("demo") == entry_uuid("demo") != entry_uuid("other")


def test_what_a_newer_version_writes_can_be_read() -> None:
    assert TrainingMetadata.model_validate({**TRAINING, "new": {"member": 1}}).suite == "demo"
