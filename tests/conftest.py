"""Fixtures that several test packages share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_suite.home import cache
from ml_suite.services import ports

pytest_plugins = ["tests.ecflow_fixture"]


@pytest.fixture(scope="session")
def anemoi_python() -> Path:
    """Python of the training environment that ci/environment.sh builds."""
    chosen = Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")
    python = chosen / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is missing; run: bash ci/environment.sh")
    return python


@pytest.fixture
def free_port() -> int:
    """A TCP port of loopback at which nobody listens; not one that the system gives out meanwhile."""
    return ports.choose(("nobody",), {}, set())["nobody"]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[1]
