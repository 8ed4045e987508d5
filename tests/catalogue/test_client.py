"""The unmodified command line client against the server: every command of the contract."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_suite.stores import catalogue_reader
from tests.catalogue.serving import NAME, Client, Made, ObjectStore, Server

pytestmark = pytest.mark.anemoi

ALLOW = {"ANEMOI_CONFIG_REGISTRY_ALLOW_DELETE": "1", "ANEMOI_CONFIG_REGISTRY_ALLOW_EDIT_ENTRIES": "1"}


def read(client: Client, collection: str, key: str) -> dict[str, Any]:
    found = catalogue_reader.read(client.url, collection, key)
    assert found, f"{collection}/{key}"
    return found


@pytest.fixture
def registered(client: Client, made: Made) -> Iterator[Client]:
    """The dataset is in the catalogue, and only there for this test."""
    client.run("datasets", str(made.store), "--register")
    yield client
    client.run("datasets", NAME, "--unregister", **ALLOW)


def test_settings(client: Client) -> None:
    said = client.run("settings")
    assert f"api_url: {client.url}/api/v1" in said
    assert "datasets_uri_pattern: s3://ml-datasets/{name}.zarr" in said


def test_register_list_and_unregister(client: Client, made: Made) -> None:
    client.run("datasets", str(made.store), "--register")
    metadata = read(client, "datasets", NAME)["metadata"]
    assert (metadata["shape"], metadata["variables"]) == (
        [8, 4, 1, 40],
        ["2t", "cos_latitude", "insolation", "msl"],
    )
    assert len(metadata["statistics"]["mean"]) == 4
    assert "already exists. Ok." in client.say("datasets", str(made.store), "--register")
    assert NAME in client.run("list", "datasets").split()
    assert client.run("list", "datasets", f"uuid={metadata['uuid']}").split() == [NAME]
    assert client.run("list", "datasets", "uuid=absent").split() == []
    assert client.run("datasets", NAME, "--url").strip() == f"{client.url}/datasets/{NAME}"
    assert "Unregister not allowed" in client.run("datasets", NAME, "--unregister", code=1)
    client.run("datasets", NAME, "--unregister", **ALLOW)
    assert catalogue_reader.read(client.url, "datasets", NAME) is None


def test_bad_names_and_stolen_uuids_are_refused(registered: Client, made: Made, tmp_path: Path) -> None:
    for name, reason in (
        (NAME[:-1] + "2", f"already registered as {NAME}"),
        ("Bad_Name", "only a-z, 0-9 and '-'"),
    ):
        copy = tmp_path / f"{name}.zarr"
        shutil.copytree(made.store, copy)
        said = registered.run("datasets", str(copy), "--register", code=1)
        assert "422" in said
        assert reason in said
        assert catalogue_reader.read(registered.url, "datasets", name) is None


def test_a_client_without_a_token_writes_nothing(client: Client, made: Made) -> None:
    said = client.run(
        "datasets", str(made.store), "--register", code=1, ANEMOI_CONFIG_REGISTRY_API_TOKEN="wrong"
    )
    assert "403" in said
    assert catalogue_reader.read(client.url, "datasets", NAME) is None


def test_edit_a_dataset(registered: Client, made: Made) -> None:
    edit = lambda *arguments: registered.run("datasets", NAME, *arguments)  # noqa: E731
    edit("--set-status", "testing")
    edit("--set-metadata", "a.b=42", "int")
    assert edit("--get-metadata", "a.b").strip() == "42"
    edit("--remove-metadata", "a.b")
    edit("--set-recipe", str(made.recipe))
    edit("--add-location", "mare", "--uri-pattern", "/scratch/{name}.zarr")
    registered.run("datasets", str(made.store), "--add-local", "lumi")
    record = read(registered, "datasets", NAME)
    assert record["status"] == "testing"
    assert (record["metadata"]["a"], record["metadata"]["updated"]) == ({}, 2)
    assert record["metadata"]["recipe"]["input"]["join"][0]["netcdf"]["path"] == "/.../small.nc"
    assert record["locations"] == {
        "mare": {"path": f"/scratch/{NAME}.zarr"},
        "lumi": {"path": str(made.store)},
    }
    edit("--remove-location", "mare")
    assert list(read(registered, "datasets", NAME)["locations"]) == ["lumi"]


def test_entry_dump_edit_load_and_remove(registered: Client, tmp_path: Path) -> None:
    dumped = tmp_path / "dump.json"
    registered.run("entry", f"/datasets/{NAME}", "--dump", "--json", "--output", str(dumped))
    assert json.loads(dumped.read_text()) == read(registered, "datasets", NAME)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/CC-BY-4.0/CC0-1.0/" "$1"\n')
    editor.chmod(0o755)
    registered.run("entry", f"/datasets/{NAME}", "--edit", "--editor", str(editor), **ALLOW)
    assert read(registered, "datasets", NAME)["metadata"]["licence"] == "CC0-1.0"
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"name": "cycle-1", "metadata": {"rmse": 1.5, "weights": ["absent"]}}))
    registered.run("entry", "/evaluations/cycle-1", "--load", "--create", "--input", str(scores), **ALLOW)
    assert read(registered, "evaluations", "cycle-1")["metadata"]["rmse"] == 1.5
    registered.run("entry", "/evaluations/cycle-1", "--remove", **ALLOW)
    assert catalogue_reader.read(registered.url, "evaluations", "cycle-1") is None


def test_upload_and_transfer_back(registered: Client, made: Made, s3: ObjectStore, tmp_path: Path) -> None:
    client = replace(registered, extra=s3.environment)
    client.run("datasets", str(made.store), "--add-location", "ewc", "--upload")
    assert read(client, "datasets", NAME)["locations"]["ewc"]["path"] == f"s3://ml-datasets/{NAME}.zarr"
    target = tmp_path / "lumi" / "data"
    target.mkdir(parents=True)
    route = ("source=ewc", "destination=lumi", f"dataset={NAME}")
    uuid = client.run("tasks", "--new", "action=transfer_dataset", *route).strip()
    worker = ("worker", "transfer-dataset", "--destination", "lumi", "--source", "ewc")
    client.run(*worker, "--target-dir", str(target), "--threads", "2")
    copy = target / f"{NAME}.zarr"
    assert read(client, "datasets", NAME)["locations"]["lumi"]["path"] == str(copy)
    assert not differences(made.store, copy)
    assert catalogue_reader.read(client.url, "tasks", uuid) is None
    history = catalogue_reader.query(f"{client.url}", "tasks/history")
    assert [t["outcome"] for t in history if t["uuid"] == uuid] == ["done"]
    client.run("tasks", "--new", "action=delete-dataset", "location=lumi", f"dataset={NAME}")
    client.run("worker", "delete-dataset", "--platform", "lumi", **ALLOW)
    assert not copy.exists()
    assert list(read(client, "datasets", NAME)["locations"]) == ["ewc"]


def differences(left: Path, right: Path) -> list[str]:
    """Files that are not byte for byte in both."""
    names = {str(p.relative_to(root)) for root in (left, right) for p in root.rglob("*") if p.is_file()}
    assert len(names) > 20
    _, wrong, absent = filecmp.cmpfiles(left, right, sorted(names), shallow=False)
    return wrong + absent


def test_weights(client: Client, made: Made, s3: ObjectStore, tmp_path: Path) -> None:
    client = replace(client, extra=s3.environment)
    file, key = str(made.checkpoint), made.weights
    client.run("weights", file, "--register")
    record = read(client, "weights", key)
    assert record["locations"] == {"ewc": {"path": f"s3://ml-weights/{key}.ckpt"}}
    assert record["metadata"]["run_id"] == made.run
    assert "already exists. Ok." in client.say("weights", file, "--register")
    client.run("weights", file, "--register", "--overwrite", "--no-upload")
    assert read(client, "weights", key)["locations"] == record["locations"]
    copy = tmp_path / "copy.ckpt"
    client.run("weights", key, "--download", str(copy))
    assert filecmp.cmp(made.checkpoint, copy, shallow=False)
    client.run("weights", key, "--add-location", "lumi", "--location-path", "/scratch/x.ckpt")
    assert set(read(client, "weights", key)["locations"]) == {"ewc", "lumi"}
    assert client.run("list", "weights").split() == [key]
    client.run("weights", key, "--unregister", **ALLOW)
    assert "Could not find any weights" in client.run("weights", key, "--url", code=1)


def test_trainings(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    metadata = {"name": "hpo-step1", "uuid": "a6d0cbff-0000-4000-8000-000000000000", "run_id": "a1b2"}
    file.write_text(json.dumps(metadata))
    for _ in range(2):
        client.run("trainings", str(file), "--register")
        assert read(client, "trainings", "hpo-step1") == {"name": "hpo-step1", "metadata": metadata}
    client.run("trainings", "hpo-step1", "--set-key", "score", "1.5")
    assert read(client, "trainings", "hpo-step1")["score"] == "1.5"
    assert client.run("list", "trainings", "run_id=a1b2").split() == ["hpo-step1"]


def test_experiments(client: Client, made: Made, s3: ObjectStore, tmp_path: Path) -> None:
    client = replace(client, extra=s3.environment)
    file, plot = tmp_path / "e.yaml", tmp_path / "plot.png"
    file.write_text("metadata: {expver: i4df, owner: me}\ndescription: proof\n")
    plot.write_bytes(b"not really a picture")
    client.run("experiments", str(file), "--register")
    run = lambda *arguments: client.run("experiments", "i4df", *arguments)  # noqa: E731
    run("--add-plots", str(plot))
    run("--add-weights", str(made.checkpoint))
    run("--set-key", "status", "complete", "--run-number", "1")
    run("--set-archive", str(plot), "--archive-platform", "lumi", "--run-number", "1")
    record = read(client, "experiments", "i4df")
    assert record["metadata"]["config"] == {"description": "proof"}
    assert [p["url"] for p in record["plots"]] == ["s3://ml-artefacts/i4df/plot.png"]
    assert [c["uuid"] for c in record["checkpoints"]] == [made.weights]
    assert record["runs"]["1"]["status"] == "complete"
    assert record["runs"]["1"]["archives"]["lumi"]["url"].startswith("s3://ml-artefacts/i4df/runs/1/lumi")
    run("--delete-artefacts")
    assert read(client, "experiments", "i4df")["plots"] == []
    client.run("experiments", "i4df", "--unregister", **ALLOW)
    client.run("weights", made.weights, "--unregister", **ALLOW)


def test_tasks_are_owned_and_released(client: Client) -> None:
    uuid = client.run("tasks", "--new", "action=dummy", "dataset=owned").strip()
    client.run("tasks", uuid, "--own")
    task = read(client, "tasks", uuid)
    assert (task["status"], "pid" in task["worker"]) == ("running", True)
    assert "409" in client.run("tasks", uuid, "--own", code=1)
    client.run("tasks", uuid, "--set-progress", "40")
    client.run("tasks", uuid, "--disown")
    task = read(client, "tasks", uuid)
    assert (task["status"], "worker" in task) == ("queued", False)
    assert uuid in client.run("tasks", "--list", "dataset=owned")
    client.run("tasks", "--delete-many", "dataset=owned", "--yes")
    assert catalogue_reader.query(client.url, "tasks", dataset="owned") == []


def test_sixteen_racing_owners_give_one_winner(client: Client) -> None:
    uuid = client.run("tasks", "--new", "action=dummy", "dataset=raced").strip()
    racers = [client.start("tasks", uuid, "--own") for _ in range(16)]
    messages = [racer.communicate(timeout=120)[1] for racer in racers]
    assert sorted(racer.returncode for racer in racers) == [0] + [1] * 15
    losers = [text for racer, text in zip(racers, messages, strict=True) if racer.returncode]
    assert all("409 Client Error" in text for text in losers)
    winner = next(racer for racer in racers if racer.returncode == 0)
    assert read(client, "tasks", uuid)["worker"]["pid"] == winner.pid


def test_datasets_update_finds_the_entry_by_uuid(registered: Client, made: Made, tmp_path: Path) -> None:
    copy = tmp_path / made.store.name
    shutil.copytree(made.store, copy)
    registered.run("datasets", NAME, "--set-metadata", "note=hello")
    registered.run("update", "-Z", str(copy))
    assert copy.exists()
    assert json.loads((copy / ".zattrs").read_text())["note"] == "hello"


def test_the_catalogue_serves_the_clients_web_address(registered: Client, catalogue: Server) -> None:
    import urllib.request

    address = registered.run("datasets", NAME, "--url").strip()
    with urllib.request.urlopen(address, timeout=10) as page:
        assert NAME in page.read().decode()
