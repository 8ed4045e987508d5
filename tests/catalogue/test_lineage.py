"""Lineage: links of records, the graph around an entry, and its drawing."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from ml_suite.catalogue import drawing, lineage, links, recipe, records
from ml_suite.catalogue.lineage import Graph
from ml_suite.catalogue.store import Store
from tests.catalogue.conftest import dataset

A = "/api/v1"
NAME = "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1"
SECOND = "aifs-ea-an-oper-0002-mars-o96-1979-2024-6h-v1"
UUID = "5e6f09ea-bc6a-4d6b-a184-016756991237"
WEIGHTS = "000d2363-b322-4ca9-b768-f3f3a7c62ae5"
LOST = "999d2363-b322-4ca9-b768-f3f3a7c62ae5"
RECIPE = {
    "input": {
        "join": [
            {"mars": {"class": "ea", "stream": "oper", "param": ["2t"]}},
            {"pipe": [{"grib": {"path": "/data/x.grib"}}, {"rename": {"param": {"a": "b"}}}]},
            {"forcings": {"template": "${input.join.0.mars}", "param": ["cos_latitude"]}},
        ]
    }
}


@pytest.fixture
def filled(web: TestClient) -> TestClient:
    """A whole chain from recipe to experiment, with one weights that nobody registered."""
    inside = {"specific": {"forward": {"action": "zarr", "attrs": {"uuid": UUID}}}}
    web.post(f"{A}/datasets", json=dataset(NAME, UUID, recipe=RECIPE))
    metadata = {
        "uuid": "a6d0cbff-0000-4000-8000-000000000000",
        "run_id": "r1",
        "datasets": [{"name": NAME, "uuid": UUID}],
        "weights": [WEIGHTS, LOST],
        "mlflow": {"tracking_uri": "http://mlflow:5000/", "experiment_id": 3, "run_id": "m1"},
        "hpo": {"step": 2, "trial": 13, "value": 0.25},
        "evaluation": {"skill": 0.3, "weights": {"uuid": WEIGHTS}},
    }
    web.put(f"{A}/trainings/winner", json={"metadata": metadata})
    web.post(
        f"{A}/weights", json={"uuid": WEIGHTS, "metadata": {"run_id": "r1", "dataset": {"data": inside}}}
    )
    experiment = {"expver": "i4df", "metadata": {}, "checkpoints": [{"uuid": WEIGHTS, "path": "/x"}]}
    web.post(f"{A}/experiments", json=experiment)
    return web


def graph(web: TestClient, path: str) -> Graph:
    answer = web.get(f"{A}/lineage/{path}")
    assert answer.status_code == 200, answer.text
    return Graph.model_validate(answer.json())


def edges(found: Graph) -> dict[tuple[str, str], str]:
    return {(e.source, e.target): "broken" if e.broken else e.by for e in found.edges}


def test_the_chain_is_found_by_uuid_from_either_end(filled: TestClient) -> None:
    expected = {
        ("source/mars/ea oper", f"recipe/{NAME}"): "part",
        ("source/grib//data/x.grib", f"recipe/{NAME}"): "part",
        (f"recipe/{NAME}", f"datasets/{NAME}"): "part",
        (f"datasets/{NAME}", "trainings/winner"): "uuid",
        (f"datasets/{NAME}", f"weights/{WEIGHTS}"): "uuid",
        ("trainings/winner", f"weights/{WEIGHTS}"): "uuid",
        ("trainings/winner", f"weights/{LOST}"): "broken",
        ("trainings/winner", "run/m1"): "run",
        (f"weights/{WEIGHTS}", "evaluation/winner"): "part",
        (f"weights/{WEIGHTS}", "experiments/i4df"): "uuid",
    }
    for start in (f"datasets/{NAME}", f"weights/{WEIGHTS}", "experiments/i4df", "trainings/winner"):
        found = graph(filled, start)
        assert edges(found) == expected
        assert [node.id for node in found.broken] == [f"weights/{LOST}"]
    run = next(node for node in found.nodes if node.kind == "run")
    assert run.href == "http://mlflow:5000/#/experiments/3/runs/m1"


def test_siblings_are_not_ancestors(filled: TestClient) -> None:
    other = "111d2363-b322-4ca9-b768-f3f3a7c62ae5"
    inside = {"data": {"attrs": {"uuid": UUID}}}
    filled.post(f"{A}/weights", json={"uuid": other, "metadata": {"dataset": inside}})
    assert f"weights/{other}" in {n.id for n in graph(filled, f"datasets/{NAME}").nodes}
    assert f"weights/{other}" not in {n.id for n in graph(filled, f"weights/{WEIGHTS}").nodes}


def test_an_unregistered_dataset_is_a_broken_link_with_its_old_name(filled: TestClient) -> None:
    filled.delete(f"{A}/datasets/{NAME}")
    found = graph(filled, f"weights/{WEIGHTS}")
    lost = next(node for node in found.broken if node.kind == "dataset")
    assert lost.id == f"datasets/{UUID}"
    assert any(f"was {NAME}, unregistered" in fact and "anna" in fact for fact in lost.facts)
    assert edges(found)[f"datasets/{UUID}", f"weights/{WEIGHTS}"] == "broken"


def test_links_by_name_only_are_weaker(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    source = {"input": {"anemoi-dataset": {"dataset": f"/data/{NAME}.zarr"}}}
    web.post(f"{A}/datasets", json=dataset(SECOND, "second", recipe=source))
    web.put(f"{A}/trainings/t", json={"metadata": {"datasets": [SECOND, "gone"], "parent": "t"}})
    found = edges(graph(web, "trainings/t"))
    assert found[f"datasets/{NAME}", f"datasets/{SECOND}"] == "name"
    assert found[f"datasets/{SECOND}", "trainings/t"] == "name"
    assert found["datasets/gone", "trainings/t"] == "broken"


def test_records_in_a_circle_end(web: TestClient) -> None:
    for name, parent in (("a", "b"), ("b", "a")):
        web.put(f"{A}/trainings/{name}", json={"metadata": {"parent": parent}})
    found = graph(web, "trainings/a")
    assert {n.id for n in found.nodes} == {"trainings/a", "trainings/b"}
    assert len(drawing.draw(found).boxes) == 2


@pytest.mark.parametrize(
    "metadata",
    [
        {
            "datasets": 3,
            "weights": {"a": 1},
            "mlflow": [],
            "evaluation": "x",
            "git": 1,
            "hpo": 2,
            "run_id": 7,
        },
        {"datasets": [None, [], {}, {"uuid": 3}], "mlflow": {"run_id": 3}, "evaluation": {}, "parent": []},
    ],
)
def test_strange_metadata_is_no_error(web: TestClient, metadata: dict[str, Any]) -> None:
    web.put(f"{A}/trainings/t", json={"metadata": metadata})
    assert "trainings/t" in {n.id for n in graph(web, "trainings/t").nodes}
    for collection in ("datasets", "weights", "experiments", "evaluations"):
        kind = records.collection(collection)
        assert links.links(kind, "k", {kind.key: "k", "metadata": metadata})
    for tab in ("overview", "lineage", "debug"):
        assert web.get(f"/trainings/t?tab={tab}").status_code == 200


def test_sources_of_a_recipe() -> None:
    found = [(s.type, s.place) for s in recipe.sources(RECIPE)]
    assert found == [("mars", "ea oper"), ("grib", "/data/x.grib")]
    concat = {"input": {"concat": [{"dates": {"start": 1}, "netcdf": {"path": ["a.nc", "b.nc"]}}]}}
    assert [(s.type, s.place) for s in recipe.sources(concat)] == [("netcdf", "a.nc, b.nc")]
    for strange in (None, 3, [], {}, {"input": 3}, {"input": {"join": [1, None]}}):
        assert recipe.sources(strange) == []


def test_a_wide_graph_is_drawn_in_columns_and_cut(web: TestClient, store: Store) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    for n in range(40):
        web.put(f"{A}/trainings/t{n:02d}", json={"metadata": {"datasets": [{"uuid": UUID}]}})
    found = lineage.trace(store, records.collection("datasets"), NAME)
    assert len(found.nodes) == 41
    drawn = drawing.draw(found)
    places = {(box.x, box.y) for box in drawn.boxes}
    assert len(places) == len(drawn.boxes) < 20
    assert [box.node.title for box in drawn.hidden] == [f"and {41 - len(drawn.boxes)} more"]
    first = next(box for box in drawn.boxes if box.start)
    assert all(box.x > first.x for box in drawn.boxes if not box.start)
    assert all(box.y + drawing.HEIGHT <= drawn.height for box in drawn.boxes + drawn.hidden)


def test_a_graph_of_many_entries_is_truncated(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    for n in range(320):
        web.put(f"{A}/trainings/t{n}", json={"metadata": {"datasets": [{"uuid": UUID}]}})
    found = graph(web, f"datasets/{NAME}")
    assert (len(found.nodes), found.truncated) == (300, True)
