"""The same tests on both S3 servers: SeaweedFS, the embedded default, and Ceph's gateway, which EWC runs."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ml_suite.services.addresses import Places
from ml_suite.services.credentials import Secrets
from ml_suite.services.ports import choose
from ml_suite.services.process import Process, end, launch
from ml_suite.services.s3 import SeaweedFS, administer, connection
from ml_suite.services.server import Setting, base_environment, wait_until_ready
from ml_suite.stores import manifest
from ml_suite.stores.connections import S3

BUCKET = "ml-datasets"


class RunningS3(ABC):
    """A server that can be killed and started again with its data."""

    connection: S3

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL."""

    @abstractmethod
    def stop(self) -> None: ...

    @property
    def admin(self) -> Any:
        return administer(self.connection)

    def objects(self, prefix: str) -> dict[str, str]:
        """Keys below PREFIX and their ETags."""
        answer = self.admin.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return {x["Key"].removeprefix(prefix): x["ETag"] for x in answer.get("Contents", [])}


class RunningSeaweedFS(RunningS3):
    def __init__(self, folder: Path) -> None:
        self.server = SeaweedFS()
        ports = choose(self.server.ports, {}, set())
        self.setting = Setting(Places(folder), Secrets.keep(folder / "secrets.json"), {"s3": ports})
        self.server.data(self.setting).mkdir(parents=True)
        self.connection = connection(self.setting)
        self.process: Process | None = None

    def start(self) -> None:
        if self.process and self.process.alive:
            return
        folder = self.setting.places.folder("s3")
        environment = base_environment() | self.server.environment(self.setting)
        self.process = launch(self.server.command(self.setting), environment, folder, folder / "log")
        wait_until_ready(self.server, self.setting, self.process, fresh=True)

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, 9)
        end(self.process)

    def stop(self) -> None:
        if self.process:
            self.server.stop(self.setting, self.process)


class RunningCeph(RunningS3):
    def __init__(self, script: Path) -> None:
        self.script = script
        # short, because the daemons make sockets in it
        self.folder = Path(tempfile.mkdtemp(prefix="ceph"))

    def _run(self, verb: str) -> None:
        command = ["bash", str(self.script), verb, str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode != 0:
            pytest.fail(f"ci/ceph.sh {verb}: {done.stderr[-800:]}")

    def start(self) -> None:
        self._run("up")
        x = json.loads((self.folder / "connection.json").read_text())
        self.connection = S3(**x)
        admin = self.admin
        if BUCKET not in {bucket["Name"] for bucket in admin.list_buckets()["Buckets"]}:
            admin.create_bucket(Bucket=BUCKET)

    def kill(self) -> None:
        self._run("kill")

    def stop(self) -> None:
        self._run("down")
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session", params=["seaweedfs", pytest.param("ceph", marks=pytest.mark.ceph)])
def s3_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[RunningS3]:
    server: RunningS3
    if request.param == "seaweedfs":
        server = RunningSeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    else:
        server = RunningCeph(repository / "ci" / "ceph.sh")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: RunningS3) -> RunningS3:
    """A running server; one that the test before has killed is started again."""
    s3_server.start()
    return s3_server


@pytest.fixture
def wrong_secret(s3: RunningS3) -> S3:
    return s3.connection.model_copy(update={"secret_access_key": SecretStr("f" * 40)})


def fill(folder: Path, seed: int = 1, small: int = 60, large: int = 2) -> Path:
    """Write something shaped like a zarr store: metadata, many small chunks, few large ones."""
    random_ = random.Random(seed)
    for i in range(small):
        chunk = folder / "data" / f"{i}.0.0.0"
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(random_.randbytes(4000 + i))
    for i in range(large):
        (folder / f"large.{i}").write_bytes(random_.randbytes(9_000_000 + i))
    (folder / ".zattrs").write_text(json.dumps({"seed": seed}))
    (folder / "data" / ".zarray").write_text("{}")
    (folder / "data" / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "x.zarr")


@pytest.fixture
def wanted(store: Path) -> manifest.Manifest:
    return manifest.build(store)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An address that no other test uses."""
    return f"s3://{BUCKET}/{tmp_path.name}/x.zarr"
