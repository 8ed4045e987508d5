"""A deployment with one other machine behind a real sshd, a real catalogue and a real object store."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ml_suite.config.resolved import GitSource, HostPaths, Resolved
from ml_suite.home import home
from ml_suite.hosts import reach
from ml_suite.stores import manifest
from ml_suite.stores.connections import Catalogue, Connections, Mlflow
from ml_suite.stores.manifest import Manifest
from ml_suite.stores.transfer import upload_store
from ml_suite.transfers.wire import RestWire
from tests.catalogue.serving import TOKEN, Server
from tests.hosts.sshd_fixture import NAME as HOST
from tests.hosts.sshd_fixture import Sshd
from tests.stores.conftest import BUCKET, RunningS3


@dataclass
class Rig:
    root: Path
    python: Path
    sshd: Sshd
    s3: RunningS3
    catalogue: Server
    name: str
    use: dict[str, str] = field(default_factory=dict)
    """What the deployment says of the host."""

    @property
    def wire(self) -> RestWire:
        return RestWire(self.catalogue.url, TOKEN)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.name}.zarr"

    @property
    def store(self) -> Path:
        """The copy at the host."""
        return self.root / "host" / "datasets" / f"{self.name}.zarr"

    @property
    def mark(self) -> Path:
        return self.root / "work" / "mirror" / HOST / "datasets" / f"{self.name}.arrived"

    def publish(self, source: Path) -> Manifest:
        """Upload a folder and register it."""
        wanted = manifest.build(source)
        upload_store(source, self.url, wanted, self.s3.connection)
        known = {"manifest": wanted.content_id, "files": len(wanted.entries), "bytes": wanted.bytes}
        record = {"name": self.name, "metadata": {"uuid": f"uuid-{self.name}", "ml_suite": known}}
        self.wire.post("datasets", record)
        operation = {"op": "add", "path": "/locations/ewc", "value": {"path": self.url}}
        self.wire.patch("datasets", self.name, [operation])
        return wanted

    def deploy(self) -> None:
        reach.save((self.sshd.way, self.sshd.way))
        Connections(
            s3=self.s3.connection,
            mlflow=Mlflow(url="http://127.0.0.1:9"),
            catalogue=Catalogue(url=self.catalogue.url, token=SecretStr(TOKEN)),
        ).save(self.root / "connections.json")
        source = GitSource(path=f"recipes/{self.name}.yaml", sha256="0" * 64)
        environment = self.python.parent.parent
        resolved = Resolved.model_validate(
            {
                "deployment": {
                    "suite": "demo",
                    "dataset": {"recipe": source.path, "store": f"s3://{BUCKET}"},
                    "training": {"config": "training/storm.yaml", "resources": {"walltime": "10m"}},
                    "hosts": {"local": {}, HOST: self.use},
                    "outputs": {"checkpoints": "s3://ml-checkpoints/demo"},
                },
                "files": self.root / "suite",
                "recipe": source,
                "config": None,
                "hosts": {
                    "local": HostPaths(work=self.root / "work", environment=environment),
                    HOST: HostPaths(work=self.root / "host", environment=environment, remote=True),
                },
                "connections": self.root / "connections.json",
                "source": source,
            }
        )
        (self.root / "suite").mkdir(exist_ok=True)
        (self.root / "suite" / "resolved.json").write_text(resolved.model_dump_json())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "-m", "ml_suite.jobs", "dataset", *arguments],
            env={
                **os.environ,
                "ML_SUITE_HOME": str(home()),
                "ML_SUITE_RESOLVED": str(self.root / "suite" / "resolved.json"),
                "ML_SUITE_HOST": "local",
                "ML_SUITE_REASON": str(self.root / "reason"),
                "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        output, _ = (process := self.start(*arguments)).communicate(timeout=200)
        assert process.returncode == code, output
        return output

    def tasks(self) -> list[dict[str, Any]]:
        found = self.wire.query("tasks", dataset=self.name)
        return [task for x in found if (task := self.wire.get("tasks", x["uuid"]))]

    def history(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.catalogue.url}/settings") as answer:
            api = json.load(answer)["registry"]["api_url"]
        with urllib.request.urlopen(f"{api}/tasks/history") as answer:
            return [task for task in json.load(answer) if task.get("dataset") == self.name]

    def location(self) -> str | None:
        record = self.wire.get("datasets", self.name) or {}
        path: str | None = record["locations"].get(HOST, {}).get("path")
        return path
