"""Real servers and the real client as processes, for tests of several packages."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = "the-token-of-the-tests"
NAME = "aifs-ea-an-oper-0001-nc-10p0-2020-2020-6h-v1"
SECRET = {"AWS_ACCESS_KEY_ID": "mlsuite", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@dataclass
class Server:
    """``python -m ml_suite.catalogue`` with its data folder."""

    data: Path
    port: int = 0
    file_bytes: int | None = None
    """Largest file that the process may write: a full disk."""
    process: subprocess.Popen[str] = field(init=False, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        token = self.data.parent / "token"
        self.data.parent.mkdir(parents=True, exist_ok=True)
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        arguments = ["--port", str(self.port), "--data", str(self.data), "--token-file", str(token)]

        def limit() -> None:
            if self.file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, resource.RLIM_INFINITY))

        self.process = subprocess.Popen(
            [sys.executable, "-m", "ml_suite.catalogue", *arguments],
            stdout=subprocess.PIPE,
            stderr=(self.data.parent / "log").open("a"),
            text=True,
            preexec_fn=limit,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.match(r"catalogue http://127\.0\.0\.1:(\d+) ", line)
        assert found, (line, (self.data.parent / "log").read_text())
        self.port = int(found[1])
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@dataclass(frozen=True)
class Client:
    """The unmodified command line client."""

    program: Path
    url: str
    home: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANEMOI_", "AWS_", "ECF_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "ANEMOI_CATALOGUE": self.url,
            "ANEMOI_CONFIG_REGISTRY_API_TOKEN": TOKEN,
            **self.extra,
        }

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.program), *arguments],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **more: str) -> str:
        """Output of a command that ends with CODE; when it fails, its messages."""
        with self.start(*arguments, **more) as process:
            out, messages = process.communicate(timeout=60)
        assert process.returncode == code, messages
        return out if code == 0 else messages

    def say(self, *arguments: str) -> str:
        """Everything that a successful command prints."""
        with self.start(*arguments) as process:
            out, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
        return out + messages


@dataclass
class ObjectStore:
    """SeaweedFS, a real S3 server."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Settings of the Anemoi client."""
        prefix = "ANEMOI_SETTINGS_OBJECT_STORAGE__"
        return {
            prefix + "ENDPOINT_URL": self.endpoint,
            prefix + "ACCESS_KEY_ID": SECRET["AWS_ACCESS_KEY_ID"],
            prefix + "SECRET_ACCESS_KEY": SECRET["AWS_SECRET_ACCESS_KEY"],
            prefix + "REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


def object_store(folder: Path, buckets: tuple[str, ...]) -> ObjectStore:
    """Start SeaweedFS and wait until an object can be written and read."""
    import boto3
    from botocore.config import Config

    names = ("master", "volume", "filer", "s3", "admin")
    ports = free_ports(2 * len(names))
    options = [
        option
        for place, name in enumerate(names)
        for option in (f"-{name}.port={ports[2 * place]}", f"-{name}.port.grpc={ports[2 * place + 1]}")
    ]
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("weed")),
            "mini",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *options,
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        ],
        env={**os.environ, **SECRET},
        stdout=(folder.parent / "weed.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    store = ObjectStore(folder, ports[2 * names.index("s3")], process)
    s3 = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=SECRET["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SECRET["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    end = time.monotonic() + 40
    made: list[str] = []
    while True:
        try:
            for bucket in buckets:
                if bucket not in made:
                    s3.create_bucket(Bucket=bucket)
                    made.append(bucket)
            s3.put_object(Bucket=buckets[0], Key="probe", Body=b"ready")
            assert s3.get_object(Bucket=buckets[0], Key="probe")["Body"].read() == b"ready"
            return store
        except Exception:
            if time.monotonic() > end:
                process.kill()
                raise
            time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    """Ports of loopback that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


MAKE_NETCDF = """
import sys, netCDF4, numpy as np
with netCDF4.Dataset(sys.argv[1], "w") as f:
    f.Conventions = "CF-1.8"
    for name, size in (("time", 8), ("latitude", 5), ("longitude", 8)):
        f.createDimension(name, size)
    def axis(name, standard, units, values):
        v = f.createVariable(name, "f8", (name,)); v.standard_name = standard; v.units = units; v[:] = values
    axis("time", "time", "hours since 2020-01-01 00:00:00", np.arange(8) * 6)
    axis("latitude", "latitude", "degrees_north", np.linspace(60, 20, 5))
    axis("longitude", "longitude", "degrees_east", np.linspace(0, 70, 8))
    for name, standard, base, units in (
        ("2t", "air_temperature", 280, "K"), ("msl", "air_pressure_at_mean_sea_level", 101000, "Pa")
    ):
        v = f.createVariable(name, "f4", ("time", "latitude", "longitude"))
        v.standard_name = standard; v.units = units; v[:] = base + np.sin(np.arange(320).reshape(8, 5, 8))
"""

MAKE_CHECKPOINT = """
import sys, zipfile
from anemoi.datasets import open_dataset
from anemoi.utils.checkpoints import save_metadata
path, dataset, identity, run = sys.argv[1:]
with zipfile.ZipFile(path, "w") as f:
    f.writestr("archive/data.pkl", b"weights" * 1000)
save_metadata(path, {
    "uuid": identity, "run_id": run, "version": "2.0", "timestamp": "2026-11-21T01:21:06.673381+00:00",
    "config": {"training": {"run_id": run}}, "dataset": {"data": open_dataset(dataset).metadata()},
})
"""

RECIPE = """\
description: Small dataset made from NetCDF
licence: CC-BY-4.0
attribution: the tests
dates: {{start: 2020-01-01T00:00:00, end: 2020-01-02T18:00:00, frequency: 6h}}
input:
  join:
  - netcdf: {{path: {path}, param: [2t, msl]}}
  - forcings: {{template: "${{input.join.0.netcdf}}", param: [cos_latitude, insolation]}}
"""


@dataclass(frozen=True)
class Made:
    """A real dataset and a checkpoint that was trained on it, so says its metadata."""

    store: Path
    recipe: Path
    checkpoint: Path
    weights: str
    """Uuid of the checkpoint."""
    run: str


def make_dataset(python: Path, folder: Path) -> Made:
    """Build a dataset with anemoi-datasets and a checkpoint with anemoi's metadata."""
    environment = {**os.environ, "HOME": str(folder)}

    def run(*command: str) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    netcdf, recipe, store = folder / "small.nc", folder / f"{NAME}.yaml", folder / f"{NAME}.zarr"
    run(str(python), "-c", MAKE_NETCDF, str(netcdf))
    recipe.write_text(RECIPE.format(path=netcdf))
    run(str(python.with_name("anemoi-datasets")), "create", str(recipe), str(store))
    made = Made(store, recipe, folder / "inference.ckpt", "000d2363-b322-4ca9-b768-f3f3a7c62ae5", "a1b2c3d4")
    run(str(python), "-c", MAKE_CHECKPOINT, str(made.checkpoint), str(store), made.weights, made.run)
    return made
