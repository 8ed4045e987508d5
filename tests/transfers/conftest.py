from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ml_suite.hosts import reach
from ml_suite.stores import manifest
from ml_suite.stores.manifest import Manifest
from ml_suite.stores.s3 import Location
from ml_suite.stores.streams import TransferSummary
from ml_suite.stores.transfer import upload_store
from ml_suite.transfers.delivery import deliver
from ml_suite.transfers.place import Target
from ml_suite.transfers.shards import Size
from ml_suite.transfers.stream import Stream
from tests.hosts.sshd_fixture import Sshd, home, sshd
from tests.stores.conftest import BUCKET, RunningS3, RunningSeaweedFS, fill, s3, url

__all__ = ["home", "s3", "sshd", "url"]

ROOT = Path(__file__).resolve().parents[2]
SMALL = Size(bytes=2_000_000, files=40)
"""Portions for a small dataset."""


class Sending:
    """A delivery that runs."""

    def __init__(self, words: list[str]) -> None:
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.at = 0
        """Bytes done."""
        self.said: list[str] = []

    def until(self, done: int) -> None:
        """Wait until so many bytes are done."""
        assert self.process.stdout
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "at":
                self.at = int(rest)
                if self.at >= done:
                    return
            else:
                self.said.append(line.strip())
        raise AssertionError(f"it ended before: {self.said}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def end(self) -> dict[str, int]:
        """Wait for a good end, and what it says of itself."""
        out, _ = self.process.communicate(timeout=120)
        lines = [line for line in out.splitlines() if not line.startswith("at ")]
        self.said += lines
        assert lines, out[-500:]
        assert lines[-1].startswith("end "), lines
        found: dict[str, int] = json.loads(lines[-1].removeprefix("end "))
        return found


@dataclass
class Delivery:
    """A dataset in the object store and a host that is to get it."""

    sshd: Sshd
    s3: RunningS3
    source: Path
    url: str
    wanted: Manifest
    folder: Path
    """Of the datasets at the host, which is this machine."""
    told: list[tuple[int, int]] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(self.sshd.way, PurePosixPath(self.folder), "x.zarr")

    @property
    def store(self) -> Path:
        return self.folder / "x.zarr"

    @property
    def part(self) -> Path:
        return self.folder / "x.zarr.part"

    @property
    def state(self) -> Path:
        return self.folder / ".x.zarr.transfer"

    @property
    def location(self) -> Location:
        return Location.parse(self.url)

    def run(self, size: Size = SMALL, **options: Any) -> TransferSummary:
        carrier = options.pop("carrier", None) or Stream(self.location, self.s3.connection, size)
        also = options.pop("progress", None)

        def progress(done: int, total: int) -> None:
            self.told.append((done, total))
            if also:
                also(done, total)

        return deliver(self.target, self.wanted, carrier, progress, **{"pauses": (), **options})

    def start(self, size: Size = SMALL, slow: float = 0.0, pauses: tuple[float, ...] = ()) -> Sending:
        """The same as a process of its own."""
        reach.save((self.sshd.way, self.sshd.way))
        listed = self.folder.parents[1] / "wanted"
        self.wanted.save(listed)
        s3 = self.s3.connection
        given = {
            "host": self.sshd.way.host,
            "folder": str(self.folder),
            "manifest": str(listed),
            "url": self.url,
            "s3": {**s3.model_dump(), "secret_access_key": s3.secret_access_key.get_secret_value()},
            "size": [size.bytes, size.files],
            "slow": slow,
            "pauses": pauses,
        }
        return Sending([sys.executable, "-m", "tests.transfers.sending", json.dumps(given)])

    def assert_right(self) -> None:
        assert manifest.build(self.store) == self.wanted
        assert manifest.load(manifest.path_for(self.store)) == self.wanted
        assert not self.part.exists()
        assert not self.state.exists()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """SeaweedFS alone: what the two servers do differently is the stores' own to test."""
    server = RunningSeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def deliveries(sshd: Sshd, s3: RunningS3, url: str, tmp_path: Path) -> Callable[[Path], Delivery]:
    """Upload a folder and say where it is to go."""

    def make(source: Path) -> Delivery:
        wanted = manifest.build(source)
        upload_store(source, url, wanted, s3.connection)
        return Delivery(sshd, s3, source, url, wanted, tmp_path / "host" / "work" / "datasets")

    return make


Uploaded = tuple[Path, str, Manifest]


@pytest.fixture(scope="session")
def uploaded(s3_server: RunningS3, tmp_path_factory: pytest.TempPathFactory) -> Uploaded:
    """About two hundred small files and two large ones, in the object store once for all tests."""
    source = fill(tmp_path_factory.mktemp("source") / "x.zarr", small=200)
    url, wanted = f"s3://{BUCKET}/hundreds/x.zarr", manifest.build(source)
    upload_store(source, url, wanted, s3_server.connection)
    return source, url, wanted


@pytest.fixture
def delivery(uploaded: Uploaded, sshd: Sshd, s3_server: RunningS3, tmp_path: Path) -> Delivery:
    """A host that is to get it; the test leaves source and objects as they are."""
    return Delivery(sshd, s3_server, *uploaded, tmp_path / "host" / "work" / "datasets")


@pytest.fixture
def own(deliveries: Callable[[Path], Delivery], tmp_path: Path) -> Delivery:
    """One whose source and objects belong to the test."""
    return deliveries(fill(tmp_path / "source" / "x.zarr", small=60))
