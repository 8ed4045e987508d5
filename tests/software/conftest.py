from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_suite.software.patience import Line, Patience
from tests.hosts.sshd_fixture import Sshd, home, sshd

__all__ = ["home", "sshd"]


@pytest.fixture(autouse=True)
def _pip_keeps_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests move HOME, and pip goes on using the index and the cache of whoever runs them."""
    monkeypatch.setenv("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    own = Path.home() / ".config" / "pip" / "pip.conf"
    if own.exists() and "PIP_CONFIG_FILE" not in os.environ:
        monkeypatch.setenv("PIP_CONFIG_FILE", str(own))


class Told(list[str]):
    """What a person was told."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def line(sshd: Sshd) -> Line:
    """A way to the test's host that gives up soon."""
    return Line(sshd.way, Told(), Patience(silence=20.0, login=0.0, pause=0.2))
