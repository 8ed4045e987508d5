from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

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
from tests.stores.conftest import RunningS3, RunningSeaweedFS, fill, s3, url

__all__ = ["home", "s3", "sshd", "url"]

SMALL = Size(bytes=2_000_000, files=40)
"""Portions for a small dataset."""


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

    def run(self, size: Size = SMALL, **options: object) -> TransferSummary:
        carrier = options.pop("carrier", None) or Stream(self.location, self.s3.connection, size)
        return deliver(
            self.target, self.wanted, carrier, lambda *x: self.told.append(x), **{"pauses": (), **options}
        )

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


@pytest.fixture
def delivery(deliveries: Callable[[Path], Delivery], tmp_path: Path) -> Delivery:
    """About two hundred small files and two large ones."""
    return deliveries(fill(tmp_path / "source" / "x.zarr", small=200))
