"""Fixtures of these tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_suite.catalogue.app import create
from ml_suite.catalogue.store import Store
from tests.catalogue.fixtures import catalogue, client, made, s3
from tests.catalogue.serving import TOKEN

with warnings.catch_warnings():
    # it wants a package that nothing else here needs
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

__all__ = ["catalogue", "client", "made", "s3"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    store = Store(tmp_path / "catalogue.sqlite")
    yield store
    store.close()


@pytest.fixture
def web(store: Store) -> Iterator[TestClient]:
    """The application over the store, with a writer's token."""
    headers = {"Authorization": f"Bearer {TOKEN}", "x-anemoi-registry-user": "anna"}
    with TestClient(create(store, TOKEN), headers=headers, raise_server_exceptions=False) as web:
        yield web


def dataset(name: str, uuid: str, **metadata: Any) -> dict[str, Any]:
    """Smallest record of a dataset."""
    return {"name": name, "metadata": {"uuid": uuid, **metadata}}
