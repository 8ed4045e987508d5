"""Tasks of the catalogue: the queue alone, then datasets that are carried by way of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_suite.hosts import mux
from ml_suite.stores import manifest
from ml_suite.stores.connections import S3, Catalogue, Connections, Mlflow
from ml_suite.transfers.queue import Ticket
from tests.catalogue.fixtures import catalogue, client
from tests.catalogue.serving import TOKEN, Client, Server
from tests.hosts.sshd_fixture import NAME as HOST
from tests.hosts.sshd_fixture import Sshd
from tests.stores.conftest import BUCKET, RunningS3, fill
from tests.transfers.conftest import ROOT
from tests.transfers.rig import Rig

__all__ = ["catalogue", "client"]


@pytest.mark.parametrize("wire", ["RestWire", pytest.param("ClientWire", marks=pytest.mark.anemoi)])
def test_the_life_of_a_task(
    wire: str, catalogue: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    python = sys.executable if wire == "RestWire" else str(request.getfixturevalue("anemoi_python"))
    file = tmp_path / "connections.json"
    Connections(
        s3=S3(endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key=SecretStr("s")),
        mlflow=Mlflow(url="http://127.0.0.1:9"),
        catalogue=Catalogue(url=catalogue.url, token=SecretStr(TOKEN)),
    ).save(file)
    done = subprocess.run(
        [python, "-m", "tests.transfers.battery", str(file), wire],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("everything held"), done.stderr[-3000:]


def record(**changes: object) -> dict[str, object]:
    plain = {"uuid": "u", "action": "transfer-dataset", "dataset": "d", "source": "ewc", "destination": "h"}
    return {**plain, "status": "queued", "updated": "2026-11-26T03:00:00.000001", **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "delete-dataset"},
        {"dataset": "a/../b"},
        {"destination": "h.x"},
        {"source": None},
        {"dataset": ""},
    ],
)
def test_a_task_that_no_worker_would_do_is_not_read(changes: dict[str, object]) -> None:
    assert Ticket.read(record()) is not None
    assert Ticket.read(record(**changes)) is None


def test_an_owner_is_dead_after_a_quarter_of_an_hour_of_silence() -> None:
    ticket = Ticket.read(record(progress={"percentage": 40.5}))
    assert ticket
    assert ticket.percentage == 40.5
    begun = datetime(2026, 11, 26, 3, tzinfo=UTC)
    assert not ticket.silent(begun + timedelta(minutes=14))
    assert ticket.silent(begun + timedelta(minutes=16))


@pytest.fixture
def rig(
    request: pytest.FixtureRequest,
    sshd: Sshd,
    s3: RunningS3,
    catalogue: Server,
    tmp_path: Path,
) -> Rig:
    """Without the Anemoi client unless the test is marked so."""
    with_client = request.node.get_closest_marker("anemoi")
    python = request.getfixturevalue("anemoi_python") if with_client else Path(sys.executable)
    number = abs(hash(tmp_path.name)) % 9000 + 1000
    rig = Rig(tmp_path, python, sshd, s3, catalogue, f"aifs-ea-an-oper-0001-mars-o96-{number}-{number}-6h-v1")
    rig.deploy()
    return rig


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.anemoi
def test_the_suites_transfer_is_a_task_of_the_queue(rig: Rig, tmp_path: Path) -> None:
    wanted = rig.publish(fill(tmp_path / "x.zarr"))
    assert f"{len(wanted.entries)} objects" in rig.run("transfer", "--host", HOST)
    assert manifest.build(rig.store) == wanted
    assert rig.location() == str(rig.store)
    assert rig.mark.read_text().strip() == wanted.content_id
    assert rig.tasks() == []
    (past,) = rig.history()
    assert (past["outcome"], past["source"], past["destination"]) == ("done", "ewc", HOST)
    assert "0 objects" in rig.run("transfer", "--host", HOST)


@pytest.mark.anemoi
def test_a_task_of_the_real_client_is_carried_out(rig: Rig, client: Client, tmp_path: Path) -> None:
    rig.publish(fill(tmp_path / "x.zarr"))
    words = ["action=transfer_dataset", "source=ewc", f"destination={HOST}", f"dataset={rig.name}"]
    client.run("tasks", "--new", *words)
    assert rig.name in client.say("tasks", "--list", f"destination={HOST}")
    output = rig.run("transfers", "--host", HOST)
    assert f"{rig.name} from ewc to {HOST}" in output
    assert rig.location() == str(rig.store)
    assert rig.name not in client.say("tasks", "--list", f"destination={HOST}")
    assert f"nothing waits for {HOST}" in rig.run("transfers", "--host", HOST)


def test_a_task_in_the_hands_of_another_worker_is_left_alone(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    rig.publish(fill(tmp_path / "x.zarr"))
    words = ["action=transfer-dataset", "source=ewc", f"destination={HOST}", f"dataset={rig.name}"]
    uuid = client.run("tasks", "--new", *words).strip()
    client.run("tasks", uuid, "--own")
    assert f"nothing waits for {HOST}" in rig.run("transfers", "--host", HOST)
    with rig.start("transfer", "--host", HOST) as waiting:
        assert waiting.stdout
        assert "carries it already" in waiting.stdout.readline()
        assert not rig.store.exists()
        client.run("tasks", uuid, "--disown")
        waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert rig.tasks() == []
    assert rig.store.exists()


def test_a_task_is_never_done_twice_at_once(rig: Rig, tmp_path: Path) -> None:
    wanted = rig.publish(fill(tmp_path / "x.zarr", small=400))
    task = {"action": "transfer-dataset", "source": "ewc", "destination": HOST, "dataset": rig.name}
    rig.wire.post("tasks", task)
    runs = [rig.start("transfers", "--host", HOST) for _ in range(3)] + [
        rig.start("transfer", "--host", HOST)
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], outputs
    assert manifest.build(rig.store) == wanted
    assert (
        sum(f" {len(wanted.entries)} objects" in f" {output}".replace(": ", " ") for output in outputs) == 1
    )
    assert rig.tasks() == []


def test_a_transfer_that_was_killed_is_taken_up_at_once(rig: Rig, tmp_path: Path) -> None:
    wanted = rig.publish(fill(tmp_path / "x.zarr", small=100, large=8))
    run = rig.start("transfer", "--host", HOST)
    part = rig.store.with_name(f"{rig.store.name}.part")
    until(lambda: part.exists() and len(list(part.glob("large.*"))) >= 2)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    (task,) = rig.tasks()
    assert task["status"] == "running"
    output = rig.run("transfers", "--host", HOST)
    assert rig.name in output
    assert manifest.build(rig.store) == wanted
    assert rig.tasks() == []
    assert rig.location() == str(rig.store)


def test_what_passes_by_waiting_goes_back_to_the_queue(rig: Rig, tmp_path: Path) -> None:
    rig.publish(fill(tmp_path / "x.zarr"))
    rig.sshd.keys("")
    output = rig.run("transfer", "--host", HOST, code=4)
    assert "refused the login" in output
    (task,) = rig.tasks()
    assert task["status"] == "queued"
    assert "worker" not in task
    rig.sshd.keys((rig.sshd.folder / "id.pub").read_text())
    mux.open_master(rig.sshd.way, ask=lambda question: "yes")
    assert rig.name in rig.run("transfers", "--host", HOST)
    assert rig.tasks() == []


def test_what_does_not_pass_is_stopped_with_its_reason(rig: Rig, tmp_path: Path) -> None:
    rig.publish(fill(tmp_path / "x.zarr"))
    key = f"{rig.name}.zarr/large.0"
    data = rig.s3.admin.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    rig.s3.admin.delete_object(Bucket=BUCKET, Key=key)
    rig.mark.parent.mkdir(parents=True)
    rig.mark.touch()
    rig.run("transfer", "--host", HOST, code=1)
    (task,) = rig.tasks()
    assert task["status"] == "stopped"
    assert "1 objects are missing or damaged in the object store: large.0" in task["progress"]["reason"]
    assert not rig.mark.exists()
    assert f"nothing waits for {HOST}" in rig.run("transfers", "--host", HOST)
    rig.s3.admin.put_object(Bucket=BUCKET, Key=key, Body=data)
    rig.run("transfer", "--host", HOST)
    assert rig.tasks() == []
    assert rig.mark.exists()


def test_a_dataset_that_nobody_registered(rig: Rig) -> None:
    rig.run("transfer", "--host", HOST, code=1)
    assert f"{rig.name} is not registered" in (rig.root / "reason").read_text()
    (task,) = rig.tasks()
    assert task["status"] == "stopped"
    rig.wire.delete("tasks", task["uuid"])


def test_the_host_fetches_it_if_the_deployment_says_so(rig: Rig, tmp_path: Path) -> None:
    wanted = rig.publish(fill(tmp_path / "x.zarr"))
    rig.use = {"transfer": "pull", "object_store": rig.s3.connection.endpoint}
    rig.deploy()
    secret = rig.s3.connection.secret_access_key.get_secret_value()
    output = rig.run("transfer", "--host", HOST)
    assert manifest.build(rig.store) == wanted
    assert secret not in output
    assert "X-Amz" not in output


@pytest.mark.parametrize("step", ["transfer", "transfers"])
def test_a_host_that_the_deployment_does_not_have(rig: Rig, step: str) -> None:
    assert HOST in rig.run(step, "--host", "elsewhere", code=2)
