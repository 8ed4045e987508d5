"""The suite's own services on the ops host."""

from __future__ import annotations

from pathlib import Path

import pytest
from ci.twin.plan import CALLBACK_PORTS

from tests.twin.conftest import Twin

pytestmark = pytest.mark.twin


def test_services_are_reached_only_from_where_the_site_allows(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> None:
    twin = Twin(tmp_path_factory.mktemp("twin"), repository)
    opened = dict.fromkeys(CALLBACK_PORTS, "open")
    try:
        twin.must("up", "--services", timeout=200)
        assert {port: twin.reaches("lumi-c1", "ops", port) for port in CALLBACK_PORTS} == opened
        assert twin.reaches("leonardo-c1", "ops", 3141) == "silence"
        assert twin.reaches("leonardo-login", "ops", 3141) == "open"
        # the real servers answer: MLflow as itself, ecFlow by refusing a stranger
        ask = "import urllib.request as u; print(u.urlopen('http://ops:5000/health', timeout=5).read().decode())"
        assert twin.must("exec", "lumi-c1", "python3", "-c", ask).strip() == "OK"
        stranger = twin.run("exec", "lumi-c1", "timeout 20 ecflow_client --host ops --port 3141 --ping")
        assert "authentication failed" in stranger.stderr + stranger.stdout
    finally:
        twin.must("down", "--purge")
