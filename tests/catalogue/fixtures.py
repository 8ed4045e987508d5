"""Fixtures of the catalogue, its client and an object store; a conftest or a test module imports them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalogue.serving import Client, Made, ObjectStore, Server, make_dataset, object_store


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running catalogue that tests share: they use names of their own."""
    server = Server(tmp_path_factory.mktemp("catalogue") / "data").start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A running object store with the client's buckets."""
    folder = tmp_path_factory.mktemp("weed") / "data"
    store = object_store(folder, ("ml-datasets", "ml-weights", "ml-artefacts"))
    yield store
    store.process.terminate()
    try:
        store.process.wait(10)
    except Exception:
        store.process.kill()
        store.process.wait(10)


@pytest.fixture(scope="session")
def made(anemoi_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A real dataset and a checkpoint."""
    return make_dataset(anemoi_python, tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def client(anemoi_python: Path, catalogue: Server, tmp_path: Path) -> Client:
    """The real client."""
    home = tmp_path / "home"
    home.mkdir()
    return Client(anemoi_python.with_name("anemoi-registry"), catalogue.url, home)
