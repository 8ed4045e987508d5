"""The server as a process: how it starts, stops, and what it survives."""

from __future__ import annotations

import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.catalogue.serving import TOKEN, Server

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to refuse at once."""
    command = [sys.executable, "-m", "ml_suite.catalogue", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_it_stops_cleanly_and_keeps_its_data(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    httpx.put(
        f"{server.url}/api/v1/trainings/t", json={"metadata": {"a": 1}}, headers=HEADERS
    ).raise_for_status()
    assert server.stop() == 0
    assert not (tmp_path / "data" / "catalogue.sqlite-wal").exists()
    server.start()
    assert httpx.get(f"{server.url}/api/v1/trainings/t").json()["metadata"] == {"a": 1}
    assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_kill_9_under_writers_loses_no_acknowledged_write(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    acknowledged: list[str] = []
    patched: dict[int, int] = {}

    def write(writer: int) -> None:
        with httpx.Client(base_url=f"{server.url}/api/v1", headers=HEADERS, timeout=10) as http:
            try:
                http.put(f"/trainings/w{writer}", json={"metadata": {"n": 0}})
                for n in range(1, 100_000):
                    task = http.post("/tasks", json={"action": "dummy", "text": "x" * 3000})
                    acknowledged.append(task.json()["uuid"])
                    operation = {"op": "replace", "path": "/metadata/n", "value": n}
                    if http.patch(f"/trainings/w{writer}", json=[operation]).status_code == 200:
                        patched[writer] = n
            except httpx.HTTPError:
                return

    for _ in range(2):
        before = len(acknowledged)
        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for one in writers:
            one.start()
        end = time.monotonic() + 20
        while len(acknowledged) < before + 100 and time.monotonic() < end:
            time.sleep(0.01)
        server.stop(signal.SIGKILL)
        for one in writers:
            one.join()
        server.start()
        found = {task["uuid"] for task in httpx.get(f"{server.url}/api/v1/tasks", timeout=30).json()}
        assert len(acknowledged) >= before + 100
        assert set(acknowledged) <= found
        for writer, n in patched.items():
            kept = httpx.get(f"{server.url}/api/v1/trainings/w{writer}").json()["metadata"]["n"]
            assert kept >= n
    assert server.stop() == 0
    with sqlite3.connect(tmp_path / "data" / "catalogue.sqlite") as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert database.execute("pragma foreign_key_check").fetchall() == []


def test_a_full_disk_refuses_writes_with_the_reason(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", file_bytes=600_000).start()
    kept, refused = [], None
    for n in range(60):
        body = {"metadata": {"text": "x" * 20_000}}
        answer = httpx.put(f"{server.url}/api/v1/trainings/t{n}", json=body, headers=HEADERS)
        if answer.status_code != 200:
            refused = answer
            break
        kept.append(f"t{n}")
    assert refused is not None
    assert refused.status_code == 422  # 5xx would be repeated for an hour
    assert "free its disk" in refused.json()["error"]
    listed = httpx.get(f"{server.url}/api/v1/trainings").json()
    assert [t["name"] for t in listed] == kept
    assert server.stop() == 0
    server.file_bytes = None
    server.start()
    listed = httpx.get(f"{server.url}/api/v1/trainings").json()
    assert [t["name"] for t in listed] == kept
    body = {"metadata": {}}
    assert httpx.put(f"{server.url}/api/v1/trainings/after", json=body, headers=HEADERS).status_code == 200
    assert server.stop() == 0


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    options = ("--data", str(tmp_path / "other"), "--token-file", str(tmp_path / "token"))
    done = start("--port", str(server.port), *options)
    assert done.returncode == 5
    assert f"cannot listen at 127.0.0.1:{server.port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "other").exists()
    assert start("--port", "99999", *options).returncode == 5
    assert server.stop() == 0


def test_a_data_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("x")
    (tmp_path / "file").write_text("not a folder")
    done = start("--port", "0", "--data", str(tmp_path / "file" / "data"), "--token-file", str(token))
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert "cannot be used" in done.stderr
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "catalogue.sqlite").write_text("this is no database" * 100)
    done = start("--port", "0", "--data", str(tmp_path / "data"), "--token-file", str(token))
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert "not a database" in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [(None, 0o600, "cannot be read"), ("t", 0o644, "chmod 600"), ("\n", 0o600, "is empty")],
)
def test_a_bad_token_file_is_said(tmp_path: Path, text: str | None, mode: int, reason: str) -> None:
    token = tmp_path / "token"
    if text is not None:
        token.write_text(text)
        token.chmod(mode)
    done = start("--port", "0", "--data", str(tmp_path / "data"), "--token-file", str(token))
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert reason in done.stderr


def test_settings_of_the_operator_reach_the_client(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "settings.json").write_text(
        '{"datasets_uri_pattern": "s3://mine/{name}.zarr", "allow_delete": true}'
    )
    server = Server(data).start()
    registry = httpx.get(f"{server.url}/settings").json()["registry"]
    assert (registry["datasets_uri_pattern"], registry["allow_delete"]) == ("s3://mine/{name}.zarr", True)
    assert server.stop() == 0
    (data / "settings.json").write_text("[]")
    done = start("--port", "0", "--data", str(data), "--token-file", str(tmp_path / "token"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_the_token_is_not_in_the_process_list(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    folder = Path(f"/proc/{server.process.pid}")
    assert TOKEN.encode() not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
    assert server.stop() == 0


def test_three_hundred_large_datasets_are_listed_quickly(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    metadata = {"variables_metadata": {f"v{i}": {"mars": {"param": "x" * 40}} for i in range(1200)}}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=HEADERS, timeout=30) as http:
        seconds = []
        for n in range(300):
            name = f"aifs-ea-an-oper-{n:04d}-mars-o96-1979-2024-6h-v1"
            body = {"name": name, "metadata": {"uuid": f"u{n}", **metadata}}
            begin = time.monotonic()
            assert http.post("/datasets", json=body).status_code == 201
            seconds.append(time.monotonic() - begin)
        # looking for the uuid in every record would make each slower than the one before
        assert statistics.median(seconds[-60:]) < 4 * statistics.median(seconds[:60])
        begin = time.monotonic()
        assert len(http.get("/datasets").json()) == 300
        assert len(http.get("/datasets?uuid=u250").json()) == 1
        assert http.get("/datasets?name=x&type=training").json() == []
        assert time.monotonic() - begin < 1
    assert server.stop() == 0
