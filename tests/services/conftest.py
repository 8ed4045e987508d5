"""The services, started once for most tests of this package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_suite.services import lifecycle


def pid_of(home: Path, name: str) -> int:
    """Recorded process of a service."""
    record = json.loads((home / "services" / name / "state.json").read_text())
    return int(record["process"]["pid"])


@pytest.fixture(scope="package")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    try:
        yield home
    finally:
        lifecycle.down(home)


@pytest.fixture
def home(shared_home: Path) -> Path:
    """A home whose services all run, whatever the test before has done to them."""
    lifecycle.up(shared_home)
    return shared_home
