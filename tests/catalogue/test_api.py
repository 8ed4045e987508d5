"""The contract of the REST API, in process."""

from __future__ import annotations

import json
import threading
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from ml_suite.catalogue.store import Store
from tests.catalogue.conftest import dataset

A = "/api/v1"
NAME = "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1"
OTHER = "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v2"
UUID = "5e6f09ea-bc6a-4d6b-a184-016756991237"
ANONYMOUS = {"Authorization": "Bearer None"}


def test_settings_have_every_key_and_need_no_token(web: TestClient) -> None:
    registry = web.get("/settings", headers=ANONYMOUS).json()["registry"]
    assert registry == {
        "api_url": "http://testserver/api/v1",
        "web_url": "http://testserver",
        "artefacts_uri_base": "s3://ml-artefacts",
        "plots_uri_pattern": "s3://ml-artefacts/{expver}/{basename}",
        "datasets_uri_pattern": "s3://ml-datasets/{name}.zarr",
        "datasets_platform": "ewc",
        "weights_uri_pattern": "s3://ml-weights/{uuid}.ckpt",
        "weights_platform": "ewc",
    }


@pytest.mark.parametrize(("token", "status"), [("Bearer None", 401), ("", 401), ("Bearer wrong", 403)])
def test_everybody_reads_and_only_the_token_writes(web: TestClient, token: str, status: int) -> None:
    headers = {"Authorization": token}
    assert web.post(f"{A}/datasets", json=dataset(NAME, UUID)).status_code == 201
    assert web.get(f"{A}/datasets/{NAME}", headers=headers).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        path = f"{A}/datasets" if method == "POST" else f"{A}/datasets/{NAME}"
        answer = web.request(method, path, json={}, headers=headers)
        assert answer.status_code == status
        assert "token" in answer.json()["error"]
    assert web.get(f"{A}/datasets/{NAME}").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "Whatever",
        "aifs_ea-an-oper-0001-mars-o96-1979-2024-6h-v1",
        "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h",
        "aifs-ea-an-oper-0001-mars-o96-1979-2024-6x-v1",
        "aifs-ea-an-oper-0001-mars-o96-2024-1979-6h-v1",
        "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1\n",
        "../../etc/passwd",
    ],
)
def test_a_bad_name_is_refused_with_the_reason(web: TestClient, name: str) -> None:
    answer = web.post(f"{A}/datasets", json=dataset(name, UUID))
    assert answer.status_code == 422
    assert "dataset name" in answer.json()["error"]
    assert web.get(f"{A}/datasets").json() == []


@pytest.mark.parametrize(
    "name",
    [
        "aifs-od-an-oper-0001-mars-o96-1979-2022-1h-v5",
        "aifs-od-fc-oper-0001-mars-o96-2016-2025-18h-1h-v3",
        "dop-ea-ofb-0001-1979-2023-v2-combined-aircraft",
        "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1",
    ],
)
def test_names_of_all_layouts_are_accepted(web: TestClient, name: str) -> None:
    assert web.post(f"{A}/datasets", json=dataset(name, UUID)).status_code == 201


def test_409_means_the_very_same_dataset(web: TestClient) -> None:
    assert web.post(f"{A}/datasets", json=dataset(NAME, UUID)).status_code == 201
    assert web.post(f"{A}/datasets", json=dataset(NAME, UUID)).status_code == 409
    other_uuid = web.post(f"{A}/datasets", json=dataset(NAME, "another"))
    assert (other_uuid.status_code, UUID in other_uuid.text) == (422, True)
    other_name = web.post(f"{A}/datasets", json=dataset(OTHER, UUID))
    assert (other_name.status_code, NAME in other_name.text) == (422, True)
    assert web.put(f"{A}/datasets/{OTHER}", json=dataset(OTHER, UUID)).status_code == 422
    assert [d["name"] for d in web.get(f"{A}/datasets").json()] == [NAME]


def test_a_uuid_is_free_again_after_unregistering(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    assert web.delete(f"{A}/datasets/{NAME}?force=True").json()["status"] == "deleted"
    assert web.get(f"{A}/datasets/{NAME}").status_code == 404
    assert web.delete(f"{A}/datasets/{NAME}?force=True").status_code == 404
    assert web.post(f"{A}/datasets", json=dataset(OTHER, UUID)).status_code == 201


def test_containers_exist_where_the_client_patches_into_them(web: TestClient) -> None:
    assert web.post(f"{A}/datasets", json=dataset(NAME, UUID)).json()["locations"] == {}
    assert web.post(f"{A}/weights", json={"uuid": "u"}).json() == {
        "uuid": "u",
        "metadata": {},
        "locations": {},
    }
    made = web.post(f"{A}/experiments", json={"expver": "i4df", "runs": {}}).json()
    assert (made["plots"], made["checkpoints"], made["runs"]) == ([], [], {})


def test_double_slashes_are_one(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    assert web.get(f"{A}//datasets/{NAME}").json()["name"] == NAME
    patch = [{"op": "add", "path": "/status", "value": "x"}]
    assert web.patch(f"{A}//datasets/{NAME}", json=patch).json()["status"] == "x"
    assert web.delete(f"{A}//datasets/{NAME}?force=True").status_code == 200


def test_filters_are_strict(web: TestClient) -> None:
    web.post(
        f"{A}/weights", json={"uuid": "u1", "metadata": {"run_id": "r1", "config": {"training": {"n": 3}}}}
    )
    web.post(f"{A}/weights", json={"uuid": "u2", "metadata": {"run_id": "r2", "size": 7, "ok": True}})

    def found(query: str) -> list[str]:
        return [w["uuid"] for w in web.get(f"{A}/weights?{query}").json()]

    assert found("") == ["u1", "u2"]
    assert found("name=u1&type=training") == []
    assert found("uuid=u1") == ["u1"]
    assert found("run_id=r2") == found("metadata.run_id=r2") == ["u2"]
    assert found("size=7") == found("ok=true") == found("ok=True") == ["u2"]
    assert found("config.training.n=3") == found("metadata.config.training.n=3") == ["u1"]
    assert found("config.training.n=4") == found("config=x") == found("uuid=u1&run_id=r2") == []
    assert found("full=1") == ["u1", "u2"]


def test_a_filter_prefers_the_records_own_member(web: TestClient) -> None:
    record = dataset(NAME, UUID, status="inner", version="0.22")
    web.post(f"{A}/datasets", json={**record, "status": "outer"})
    assert len(web.get(f"{A}/datasets?status=outer").json()) == 1
    assert web.get(f"{A}/datasets?status=inner").json() == []
    assert len(web.get(f"{A}/datasets?metadata.status=inner").json()) == 1
    assert len(web.get(f"{A}/datasets?uuid={UUID}&version=0.22").json()) == 1


def test_filters_follow_changes(web: TestClient) -> None:
    web.post(f"{A}/datasets", json={**dataset(NAME, UUID), "status": "old"})
    web.patch(f"{A}/datasets/{NAME}", json=[{"op": "add", "path": "/status", "value": "new"}])
    assert web.get(f"{A}/datasets?status=old").json() == []
    assert len(web.get(f"{A}/datasets?status=new").json()) == 1
    web.delete(f"{A}/datasets/{NAME}")
    assert web.get(f"{A}/datasets?status=new").json() == []


def test_lists_hold_summaries(web: TestClient) -> None:
    big = {f"v{i}": {"units": "K", "mars": {"param": f"v{i}"}} for i in range(1500)}
    for i in range(40):
        name = f"aifs-ea-an-oper-{i:04d}-mars-o96-1979-2024-6h-v1"
        record = dataset(name, f"u{i}", variables_metadata=big, frequency="6h")
        assert web.post(f"{A}/datasets", json={**record, "status": "testing"}).status_code == 201
    short = web.get(f"{A}/datasets")
    assert len(short.content) < 20_000
    assert short.json()[3]["metadata"] == {"uuid": "u3", "frequency": "6h"}
    assert (short.json()[3]["status"], short.json()[3]["locations"]) == ("testing", {})
    whole = web.get(f"{A}/datasets?full=1&uuid=u3").json()
    assert [w["metadata"]["variables_metadata"] for w in whole] == [big]
    assert web.get(f"{A}/datasets/{whole[0]['name']}").json() == whole[0]


def test_put_creates_and_keeps_what_the_body_lacks(web: TestClient) -> None:
    made = web.put(f"{A}/trainings/t1", json={"metadata": {"a": 1}})
    assert (made.status_code, made.json()) == (200, {"name": "t1", "metadata": {"a": 1}})
    web.post(f"{A}/weights", json={"uuid": "u", "metadata": {"a": 1}, "owner": "me"})
    location = [{"op": "add", "path": "/locations/ewc", "value": {"path": "s3://x"}}]
    web.patch(f"{A}/weights/u", json=[*location, {"op": "add", "path": "/status", "value": "ok"}])
    put = web.put(f"{A}/weights/u", json={"uuid": "other", "metadata": {"a": 2}}).json()
    assert put == {
        "uuid": "u",
        "metadata": {"a": 2},
        "locations": {"ewc": {"path": "s3://x"}},
        "status": "ok",
        "owner": "me",
    }


def test_the_original_is_kept(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID, recipe={"a": 1}))
    web.patch(f"{A}/datasets/{NAME}", json=[{"op": "add", "path": "/metadata/recipe", "value": {"b": 2}}])
    web.put(f"{A}/datasets/{NAME}", json=dataset(NAME, UUID, recipe={"c": 3}))
    record = web.get(f"{A}/datasets/{NAME}?_=True").json()
    assert record["metadata"]["recipe"] == {"c": 3}
    assert record["_original"] == dataset(NAME, UUID, recipe={"a": 1})
    assert "_original" not in web.get(f"{A}/datasets/{NAME}").json()


def test_a_patch_is_applied_whole_or_not_at_all(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID, n=1))
    before = web.get(f"{A}/datasets/{NAME}").json()
    good = {"op": "add", "path": "/metadata/n", "value": 2}
    for bad, status in (
        ({"op": "test", "path": "/metadata/n", "value": 99}, 409),
        ({"op": "remove", "path": "/metadata/absent"}, 422),
        ({"op": "add", "path": "/a/b/c", "value": 1}, 422),
        ({"op": "add", "path": "no-slash", "value": 1}, 422),
        ({"op": "explode", "path": "/status"}, 422),
        ({"op": "add", "path": "/status"}, 422),
        ({"path": "/status", "value": 1}, 422),
        ({"op": "add", "path": "/metadata/uuid/x", "value": 1}, 422),
        ({"op": "replace", "path": "/name", "value": OTHER}, 422),
        ({"op": "replace", "path": "/metadata", "value": 3}, 422),
        ({"op": "replace", "path": "/locations", "value": []}, 422),
        ({"op": "replace", "path": "", "value": []}, 422),
        ("text", 422),
    ):
        answer = web.patch(f"{A}/datasets/{NAME}", json=[good, bad])
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True), bad
        assert web.get(f"{A}/datasets/{NAME}").json() == before
    for body in ({}, [], "x", 1):
        assert web.patch(f"{A}/datasets/{NAME}", json=body).status_code == 422
    assert web.patch(f"{A}/datasets/absent", json=[good]).status_code == 404


def test_a_patch_cannot_take_the_uuid_of_another_dataset(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    web.post(f"{A}/datasets", json=dataset(OTHER, "second"))
    take = [{"op": "replace", "path": "/metadata/uuid", "value": UUID}]
    assert web.patch(f"{A}/datasets/{OTHER}", json=take).status_code == 422


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'{"name": NaN}', b"\xff\xfe", b"null", b'{"name": 3}', b"[" * 100_000, b"{}"]
)
def test_a_bad_body_is_refused(web: TestClient, body: bytes) -> None:
    for collection in ("datasets", "weights", "experiments", "trainings", "tasks"):
        answer = web.post(f"{A}/{collection}", content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]
    assert web.put(f"{A}/trainings/t", content=b"[]").status_code == 422


def test_large_bodies_pass_and_huge_ones_are_refused(web: TestClient) -> None:
    record = {"uuid": "big", "metadata": {"text": "x" * 8_000_000}}
    assert web.post(f"{A}/weights", json=record).status_code == 201
    assert web.get(f"{A}/weights/big").json()["metadata"] == record["metadata"]
    assert len(web.get(f"{A}/weights").content) < 200
    assert web.post(f"{A}/weights", content=b" " * (64 * 2**20 + 1)).status_code == 413


@pytest.mark.parametrize("key", ["a b", "a<script>", "-x", ".hidden", "x" * 300, "é"])
def test_strange_keys_are_refused(web: TestClient, key: str) -> None:
    assert web.put(f"{A}/trainings/{key}", json={"metadata": {}}).status_code == 422


def test_unknown_places_answer_404_with_json(web: TestClient) -> None:
    for path in (
        f"{A}/nothing",
        f"{A}/nothing/x",
        f"{A}/datasets/x",
        f"{A}/a/b/c/d",
        f"{A}/lineage/datasets/x",
    ):
        answer = web.get(path)
        assert (answer.status_code, bool(answer.json()["error"])) == (404, True)
    assert web.post(f"{A}/nothing", json={}).status_code == 404


def test_a_bug_is_answered_at_once(web: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("bug")

    monkeypatch.setattr(store, "text", broken)
    answer = web.get(f"{A}/datasets/x")
    assert answer.status_code == 501  # 500 would be repeated for an hour
    assert "bug" in answer.json()["error"]


def test_tasks_have_naive_times_and_a_heartbeat(web: TestClient) -> None:
    fields = {"action": "transfer-dataset", "source": "ewc", "destination": "lumi", "dataset": NAME}
    made = web.post(f"{A}/tasks", json=fields).json()
    assert made["status"] == "queued"
    assert made["created"] == made["updated"]
    created = datetime.fromisoformat(made["updated"])
    assert created.tzinfo is None
    assert abs((datetime.utcnow() - created).total_seconds()) < 60
    beat = web.patch(
        f"{A}/tasks/{made['uuid']}", json=[{"op": "add", "path": "/status", "value": "running"}]
    ).json()
    assert beat["updated"] > made["updated"]
    assert beat["created"] == made["created"]
    query = "status=running&action=transfer-dataset&destination=lumi&source=ewc"
    assert [t["uuid"] for t in web.get(f"{A}/tasks?{query}").json()] == [made["uuid"]]
    assert web.post(f"{A}/tasks", json={"source": "ewc"}).status_code == 422


def test_finished_tasks_go_to_the_history(web: TestClient) -> None:
    made = web.post(f"{A}/tasks", json={"action": "dummy"}).json()
    web.patch(f"{A}/tasks/{made['uuid']}", json=[{"op": "add", "path": "/status", "value": "running"}])
    assert web.delete(f"{A}/tasks/{made['uuid']}?force=True").status_code == 200
    assert web.get(f"{A}/tasks").json() == []
    (done,) = web.get(f"{A}/tasks/history").json()
    assert (done["uuid"], done["outcome"], done["finished_by"]) == (made["uuid"], "done", "anna")


def test_racing_owners_give_one_winner(web: TestClient) -> None:
    uuid = web.post(f"{A}/tasks", json={"action": "dummy"}).json()["uuid"]
    codes: list[int] = []
    start = threading.Barrier(16)

    def own(number: int) -> None:
        start.wait()
        operations = [
            {"op": "test", "path": "/status", "value": "queued"},
            {"op": "replace", "path": "/status", "value": "running"},
            {"op": "add", "path": "/worker", "value": {"pid": number}},
        ]
        codes.append(web.patch(f"{A}/tasks/{uuid}", json=operations).status_code)

    threads = [threading.Thread(target=own, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 15


def test_every_write_is_in_the_audit_log(web: TestClient, store: Store) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    web.patch(f"{A}/datasets/{NAME}", json=[{"op": "add", "path": "/status", "value": "x"}])
    web.patch(f"{A}/datasets/{NAME}", json=[{"op": "test", "path": "/status", "value": "y"}])
    web.delete(f"{A}/datasets/{NAME}")
    changes = store.audit(("datasets", NAME))
    assert [c.method for c in changes] == ["delete", "patch", "create"]
    assert {c.caller.user for c in changes} == {"anna"}
    assert json.loads(changes[1].change) == [{"op": "add", "path": "/status", "value": "x"}]


def test_replicas_and_sites(web: TestClient) -> None:
    web.post(f"{A}/datasets", json=dataset(NAME, UUID))
    for site in ("ewc", "lumi"):
        operation = {"op": "add", "path": f"/locations/{site}", "value": {"path": f"/{site}/x.zarr"}}
        web.patch(f"{A}/datasets/{NAME}", json=[operation])
    assert [s["name"] for s in web.get(f"{A}/sites").json()] == ["ewc", "lumi"]
    (row,) = web.get(f"{A}/replicas?site=lumi&name={NAME}").json()
    assert (row["name"], row["site"], row["path"]) == (NAME, "lumi", "/lumi/x.zarr")
    assert web.get(f"{A}/replicas?site=mars").json() == []
