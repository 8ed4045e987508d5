"""Fixtures that several test packages share."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ml_suite.home import cache

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
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[1]
