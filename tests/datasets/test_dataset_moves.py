"""register, upload and transfer with the real client, a real catalogue and a real S3 server."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ml_suite.stores.connections import S3, Catalogue, Connections, Mlflow
from ml_suite.stores.s3 import head, open_bucket
from tests.catalogue.serving import SECRET, TOKEN, ObjectStore, Server
from tests.datasets.workshop import Workshop, differences, metadata

pytestmark = pytest.mark.anemoi


@pytest.fixture(scope="module")
def connections(catalogue: Server, s3: ObjectStore) -> Connections:
    """Addresses of the services."""
    return Connections(
        s3=S3(
            endpoint=s3.endpoint,
            access_key_id=SECRET["AWS_ACCESS_KEY_ID"],
            secret_access_key=SecretStr(SECRET["AWS_SECRET_ACCESS_KEY"]),
        ),
        mlflow=Mlflow(url="http://127.0.0.1:9"),
        catalogue=Catalogue(url=catalogue.url, token=SecretStr(TOKEN)),
    )


@pytest.fixture
def shop(
    finished: Workshop, connections: Connections, catalogue: Server, tmp_path: Path
) -> Iterator[Workshop]:
    """A finished dataset and services that do not know it."""
    shop = finished.copy(tmp_path)
    connections.save(shop.connections)
    yield shop
    forget(catalogue, shop.name)
    bucket = open_bucket("ml-datasets", connections.s3)
    bucket.delete([meta["path"] for batch in bucket.list() for meta in batch])


def entry(catalogue: Server, name: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{catalogue.url}/settings") as answer:
        api = json.load(answer)["registry"]["api_url"]
    with urllib.request.urlopen(f"{api}/datasets/{name}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def forget(catalogue: Server, name: str) -> None:
    with urllib.request.urlopen(f"{catalogue.url}/settings") as answer:
        api = json.load(answer)["registry"]["api_url"]
    request = urllib.request.Request(f"{api}/datasets/{name}?force=True", method="DELETE")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        urllib.request.urlopen(request).close()
    except urllib.error.HTTPError as error:
        if error.code != 404:  # the test registered nothing
            raise


def test_the_whole_way(shop: Workshop, catalogue: Server, connections: Connections) -> None:
    shop.succeed("register")
    found = entry(catalogue, shop.name)
    content = hashlib.sha256(shop.manifest.read_bytes()).hexdigest()
    recipe = shop.root / "suite" / "recipe" / f"{shop.name}.yaml"
    known = found["metadata"]["ml_suite"]
    assert found["metadata"]["uuid"] == metadata(shop.store)["uuid"]
    assert known["manifest"] == content
    assert known["bytes"] == metadata(shop.store)["total_size"]
    assert known["recipe"]["sha256"] == hashlib.sha256(recipe.read_bytes()).hexdigest()
    assert known["suite"] == "demo"

    shop.succeed("upload")
    url = f"s3://ml-datasets/{shop.name}.zarr"
    listed = head(f"{url}.manifest.jsonl", connections.s3)
    assert listed
    assert listed.sha256 == content
    assert entry(catalogue, shop.name)["locations"]["ewc"]["path"] == url

    shop.succeed("transfer")
    fetched = shop.work / "datasets" / f"{shop.name}.zarr"
    assert differences(shop.python, fetched, shop.store) == set()
    assert entry(catalogue, shop.name)["locations"]["local"]["path"] == str(fetched)

    # again, after a file of the copy was cut off and one was lost
    (fetched / "data" / "3.0.0.0").write_bytes(b"cut off")
    (fetched / "data" / "4.0.0.0").unlink()
    for step in ("register", "upload", "transfer"):
        shop.succeed(step)
    assert differences(shop.python, fetched, shop.store) == set()
    assert entry(catalogue, shop.name)["metadata"]["ml_suite"] == known

    told = ask(shop, "status", shop.name, "--json")["registered"]
    assert told["uuid"] == metadata(shop.store)["uuid"]
    assert {c["platform"]: c["complete"] for c in told["copies"]} == {"ewc": True, "local": True}
    (fetched / "data" / "5.0.0.0").unlink()
    told = ask(shop, "status", shop.name, "--json")["registered"]
    assert {c["platform"]: c["complete"] for c in told["copies"]} == {"ewc": True, "local": False}
    assert ask(shop, "describe", shop.name, "--no-feed", "--json")["name"] == shop.name


def test_another_dataset_of_that_name(shop: Workshop, catalogue: Server) -> None:
    shop.succeed("register")
    attributes = metadata(shop.store)
    attributes["uuid"] = "11111111-2222-4333-8444-555555555555"
    (shop.store / ".zattrs").write_text(json.dumps(attributes))
    reason = shop.fail("register")
    assert "another dataset named" in reason
    assert entry(catalogue, shop.name)["metadata"]["uuid"] != attributes["uuid"]


def test_a_transfer_of_what_is_not_registered(shop: Workshop) -> None:
    assert "is not registered" in shop.fail("transfer")
    shop.succeed("register")
    assert "manifest" in shop.fail("transfer")
    assert not (shop.work / "datasets" / f"{shop.name}.zarr").exists()


def test_an_upload_without_a_manifest(shop: Workshop) -> None:
    shop.manifest.unlink()
    assert "finalise" in shop.run("upload")[1]


def test_a_dataset_that_is_not_finished(loaded: Workshop, connections: Connections, tmp_path: Path) -> None:
    shop = loaded.copy(tmp_path)
    connections.save(shop.connections)
    for step in ("register", "upload"):
        assert shop.run(step)[0] == 1


def test_a_catalogue_that_is_down(shop: Workshop, connections: Connections) -> None:
    dead = Catalogue(url="http://127.0.0.1:9", token=SecretStr(TOKEN))
    connections.model_copy(update={"catalogue": dead}).save(shop.connections)
    assert "does not answer" in shop.fail("register")
    connections.save(shop.connections)
    shop.succeed("register")


def test_register_by_hand(shop: Workshop, catalogue: Server, tmp_path: Path) -> None:
    shop.manifest.unlink()
    done = ask(shop, "register", str(shop.store), "--json")
    assert done["manifest"] == hashlib.sha256(shop.manifest.read_bytes()).hexdigest()
    assert entry(catalogue, shop.name)["metadata"]["ml_suite"]["manifest"] == done["manifest"]
    assert ask(shop, "register", str(shop.store), "--json") == done
    (shop.store / "data" / "7.0.0.0").write_bytes(b"changed")
    code, output = command(shop, "register", str(shop.store))
    assert code == 1
    assert "is not what its manifest says" in output
    shutil.copytree(shop.store, tmp_path / "another-name-o96-1996-1996-6h-v1.zarr")
    code, output = command(shop, "register", str(tmp_path / "another-name-o96-1996-1996-6h-v1.zarr"))
    assert code == 1
    assert f"is registered as {shop.name}" in output


def command(shop: Workshop, *arguments: str) -> tuple[int, str]:
    """Run ``ml-suite dataset``."""
    environment = {
        **shop.environment,
        "ML_SUITE_HOME": str(shop.root),
        "ML_SUITE_ENVIRONMENT": str(shop.python.parent.parent),
    }
    program = ["-c", "from ml_suite.cli import main; main()", "dataset", *arguments]
    done = subprocess.run(
        [sys.executable, *program], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def ask(shop: Workshop, *arguments: str) -> dict[str, Any]:
    """Run a command that answers with JSON."""
    code, output = command(shop, *arguments)
    assert code == 0, output
    answer: dict[str, Any] = json.loads(output)
    return answer
