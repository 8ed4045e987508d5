"""What jobs tell the catalogue, through the real client in the training environment, against the real server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.stores import catalogue_reader
from ml_suite.stores.connections import S3, Catalogue, Connections, Mlflow
from tests.catalogue.fixtures import catalogue, made
from tests.catalogue.serving import NAME, TOKEN, Made, Server

__all__ = ["catalogue", "made"]

PROGRAM = """
import json, os, sys, time
from pathlib import Path
from ml_suite.errors import DeliveryError
from ml_suite.stores.catalogue import connect
from ml_suite.stores.connections import Connections
begin = time.monotonic()
try:
    catalogue = connect(Connections.load(Path(sys.argv[1])), seconds=float(os.environ.get("SECONDS_TO_WAIT", 60)))
    scope = {"catalogue": catalogue, "Path": Path, "result": None}
    exec(sys.argv[2], scope)
    print(json.dumps({"result": scope["result"], "seconds": time.monotonic() - begin, "home": os.environ.get("HOME")}))
except DeliveryError as error:
    print(json.dumps({"error": str(error), "seconds": time.monotonic() - begin}))
"""


class Job:
    """A process of the training environment that uses the wrapper."""

    def __init__(self, python: Path, folder: Path, url: str, token: str = TOKEN) -> None:
        self.python, self.folder = python, folder
        self.connections = folder / "connections.json"
        s3 = S3(endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="s")
        address = Catalogue(url=url, token=token)
        Connections(s3=s3, mlflow=Mlflow(url="http://127.0.0.1:9"), catalogue=address).save(self.connections)

    def answer(self, code: str, **environment: str) -> dict[str, Any]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        source = str(Path(__file__).resolve().parents[2] / "src")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANEMOI_", "AWS_"))}
        done = subprocess.run(
            [str(self.python), "-c", PROGRAM, str(self.connections), code],
            env={**kept, "PYTHONPATH": source, "HOME": str(home), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not list(home.rglob("*")), "the client wrote to the home folder"
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def result(self, code: str) -> Any:
        answer = self.answer(code)
        assert "error" not in answer, answer["error"]
        assert answer["home"] == str(self.folder / "home")
        return answer["result"]


@pytest.fixture
def job(anemoi_python: Path, catalogue: Server, tmp_path: Path) -> Job:
    return Job(anemoi_python, tmp_path, catalogue.url)


def read(server: Server, collection: str, key: str) -> dict[str, Any]:
    found = catalogue_reader.read(server.url, collection, key)
    assert found
    return found


@pytest.mark.anemoi
def test_a_dataset_is_registered_and_described(job: Job, catalogue: Server, made: Made) -> None:
    code = f"""
from datetime import date
for _ in range(2):
    entry = catalogue.register_dataset(Path({str(made.store)!r}), Path({str(made.recipe)!r}), "experimental", "local")
    catalogue.add_location(entry.key, "ewc", "s3://ml-datasets/x.zarr")
    catalogue.add_location(entry.key, "lumi", "ssh://lumi/scratch/x.zarr")
    catalogue.set_metadata(entry.key, "ml_suite", {{"manifest": "abc", "when": date(2026, 1, 5)}})
    catalogue.remove_location(entry.key, "lumi")
    catalogue.remove_location(entry.key, "lumi")
found = catalogue.find_dataset_by_uuid(entry.uuid)
absent = catalogue.find_dataset_by_uuid("absent")
result = [entry.key, entry.uuid, found["name"], absent, catalogue.page("datasets", "x")]
"""
    key, uuid, found, absent, page = job.result(code)
    record = read(catalogue, "datasets", NAME)
    assert (key, found, absent, page) == (NAME, NAME, None, f"{catalogue.url}/datasets/x")
    assert record["metadata"]["uuid"] == uuid
    assert record["status"] == "experimental"
    assert record["locations"] == {
        "local": {"path": str(made.store)},
        "ewc": {"path": "s3://ml-datasets/x.zarr"},
    }
    assert record["metadata"]["ml_suite"] == {"manifest": "abc", "when": "2026-01-05"}
    assert record["metadata"]["updated"] == 1  # the second time there was nothing to change
    assert record["metadata"]["recipe"]["licence"] == "CC-BY-4.0"


@pytest.mark.anemoi
def test_weights_and_training_are_registered_and_linked(job: Job, catalogue: Server, made: Made) -> None:
    code = f"""
for _ in range(2):
    weights = catalogue.register_weights(Path({str(made.checkpoint)!r}), "s3://b/x.ckpt")
    training = catalogue.put_training("demo", {{
        "run_id": {made.run!r}, "weights": [weights.uuid], "datasets": [{{"name": {NAME!r}, "uuid": "absent"}}],
        "value": float("nan"), "when": __import__("datetime").datetime(1996, 1, 5),
    }})
catalogue.set_metadata(weights.key, "mlflow.run_id", "m1", collection="weights")
found = catalogue.query("trainings", run_id={made.run!r})
result = [weights.key, training.key, training.uuid, [t["name"] for t in found]]
"""
    key, name, uuid, found = job.result(code)
    record = read(catalogue, "weights", key)
    assert (key, name, found) == (made.weights, "demo", ["demo"])
    assert record["locations"] == {"ewc": {"path": "s3://b/x.ckpt"}}
    assert record["metadata"]["mlflow"] == {"run_id": "m1"}
    metadata = read(catalogue, "trainings", "demo")["metadata"]
    assert (metadata["uuid"], metadata["value"], metadata["when"]) == (uuid, "nan", "1996-01-05T00:00:00")
    graph = catalogue_reader.read(catalogue.url, "lineage/weights", key)
    assert graph
    edges = {(e["source"], e["target"], e["by"]) for e in graph["edges"]}
    assert ("trainings/demo", f"weights/{key}", "uuid") in edges


@pytest.mark.anemoi
def test_another_checkpoint_under_the_same_uuid_is_an_error(
    anemoi_python: Path, tmp_path: Path, made: Made
) -> None:
    server = Server(tmp_path / "own" / "data").start()
    wrong = {
        "uuid": made.weights,
        "metadata": {"uuid": made.weights, "run_id": made.run, "timestamp": "other"},
    }
    write(server, "POST", "weights", wrong)
    job = Job(anemoi_python, tmp_path, server.url)
    answer = job.answer(f"catalogue.register_weights(Path({str(made.checkpoint)!r}))")
    assert "is another checkpoint than" in answer["error"]
    assert "timestamp differs" in answer["error"]
    assert server.stop() == 0


def write(server: Server, method: str, path: str, body: object) -> None:
    import httpx

    headers = {"Authorization": f"Bearer {TOKEN}"}
    httpx.request(method, f"{server.url}/api/v1/{path}", json=body, headers=headers).raise_for_status()


@pytest.mark.anemoi
def test_tasks_are_queued_once(job: Job, catalogue: Server) -> None:
    fields = 'dict(source="ewc", destination="mn5", dataset="queued-once")'
    code = f"result = [catalogue.add_task('transfer_dataset', **{fields}) for _ in range(2)]"
    first, second = job.result(code)
    assert first == second
    task = read(catalogue, "tasks", first)
    assert (task["action"], task["status"], task["destination"]) == ("transfer-dataset", "queued", "mn5")


@pytest.mark.anemoi
def test_refusals_are_delivery_errors_with_the_servers_reason(
    job: Job, anemoi_python: Path, catalogue: Server, tmp_path: Path, made: Made
) -> None:
    for call, reason in (
        ("set_status('absent', 'x')", "(404): there is no datasets/absent"),
        ("add_location('absent', 'ewc', 's3://x')", "(404): there is no datasets/absent"),
        ("set_metadata('absent', 'a', 1)", "has no datasets/absent"),
        ("register_dataset(Path('/absent.zarr'))", "no such folder"),
        (f"register_weights(Path({str(made.recipe)!r}))", "no zip archive"),
    ):
        assert reason in job.answer(f"catalogue.{call}")["error"]
    bad = tmp_path / "Bad_Name.zarr"
    bad.symlink_to(made.store)
    answer = job.answer(f"catalogue.register_dataset(Path({str(bad)!r}))")
    assert "(422): the dataset name 'Bad_Name'" in answer["error"]
    (tmp_path / "other").mkdir()
    answer = Job(anemoi_python, tmp_path / "other", catalogue.url, "wrong").answer(
        "catalogue.put_training('t', {})"
    )
    assert "(403)" in answer["error"]
    assert "Renew the token" in answer["error"]


@pytest.fixture
def silent() -> Iterator[Callable[[bytes], str]]:
    """A server that sends the given bytes to everybody, or nothing at all."""
    listening = socket.create_server(("127.0.0.1", 0))
    answers: list[bytes] = []
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            held.append(connection)
            if answers[0]:
                connection.recv(65536)
                connection.sendall(answers[0])
                connection.close()

    def start(answer: bytes) -> str:
        answers.append(answer)
        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for connection in held:
        connection.close()


@pytest.mark.anemoi
def test_a_dead_catalogue_is_an_error_soon(anemoi_python: Path, tmp_path: Path, free_port: int) -> None:
    answer = Job(anemoi_python, tmp_path, f"http://127.0.0.1:{free_port}").answer("")
    assert "does not answer" in answer["error"]
    assert "ml-suite services status" in answer["error"]
    assert answer["seconds"] < 20


@pytest.mark.anemoi
def test_a_catalogue_that_fails_half_way_is_an_error_at_the_deadline(
    anemoi_python: Path, tmp_path: Path, silent: Callable[[bytes], str]
) -> None:
    """Its settings answer, everything else is 503, which the client would repeat for an hour."""
    url = silent(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    good = Server(tmp_path / "own" / "data")
    good.data.mkdir(parents=True)
    (good.data / "settings.json").write_text(json.dumps({"public_url": url}))
    good.start()
    begin = time.monotonic()
    answer = Job(anemoi_python, tmp_path, good.url).answer(
        "catalogue.get('datasets', 'x')", SECONDS_TO_WAIT="3"
    )
    assert "did not show datasets/x within 3 s" in answer["error"]
    assert time.monotonic() - begin < 40
    assert good.stop() == 0


def test_the_reader_reads_and_filters(catalogue: Server) -> None:
    write(catalogue, "PUT", "trainings/reader", {"metadata": {"run_id": "r9"}})
    assert catalogue_reader.read(catalogue.url, "trainings", "reader") == {
        "name": "reader",
        "metadata": {"run_id": "r9"},
    }
    assert catalogue_reader.read(catalogue.url + "/", "trainings", "absent") is None
    assert catalogue_reader.read(catalogue.url, "trainings", "a/b?c#d") is None
    found = catalogue_reader.query(catalogue.url, "trainings", run_id="r9")
    assert [t["name"] for t in found] == ["reader"]
    assert catalogue_reader.settings(catalogue.url)["datasets_platform"] == "ewc"
    assert catalogue_reader.page(catalogue.url, "trainings", "reader") == f"{catalogue.url}/trainings/reader"
    with pytest.raises(DeliveryError, match="there is no collection 'nothing'"):
        catalogue_reader.query(catalogue.url, "nothing")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "timed out"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "is no Anemoi catalogue"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml", "does not answer"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nhtml", "answered 503"),
        (b"nonsense\r\n", "does not answer"),
    ],
)
def test_the_reader_says_what_is_wrong(silent: Callable[[bytes], str], answer: bytes, reason: str) -> None:
    with pytest.raises(DeliveryError, match=reason):
        catalogue_reader.read(silent(answer), "datasets", "x", seconds=0.5)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "", "localhost:80"])
def test_the_reader_opens_only_web_addresses(url: str) -> None:
    with pytest.raises(DeliveryError, match="no web address"):
        catalogue_reader.read(url, "datasets", "x")
