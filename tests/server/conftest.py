"""Small suites on the session's real server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ml_suite.server.address import Address
from ml_suite.server.client import Server, connect, definition
from ml_suite.server.definition import Definition
from ml_suite.server.deploy import Deployed, Prepared, carry_out, prepare

_NUMBER = itertools.count()


@pytest.fixture(scope="session")
def server(ecflow_address: tuple[str, int]) -> Server:
    """The session's server, as the tool reaches it."""
    return connect(Address(*ecflow_address, "--server"))


@dataclass
class Bench:
    """One suite whose job command only notes which task was submitted."""

    server: Server
    home: Path
    name: str
    scripts: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> Any:
        """A plain client, for what an operator does."""
        import ecflow

        return ecflow.Client(self.server.address.host, self.server.address.port)

    def defs(self, body: str) -> Any:
        """Definition of the suite with BODY, indented lines of attributes and nodes."""
        import ecflow

        lines = [
            f"suite {self.name}",
            f"  edit ECF_HOME '{self.home / 'jobs'}'",
            "  edit ECF_TRIES '1'",
            f"  edit ECF_JOB_CMD 'echo %ECF_NAME% >> {self.home}/submitted'",
            "  edit ECF_SCRIPT_CMD 'echo :'",
        ]
        file = self.home / "wanted.def"
        file.write_text("\n".join([*lines, body.rstrip("\n"), "endsuite", ""]))
        return ecflow.Defs(str(file))

    def prepare(self, body: str, **extra: Any) -> Prepared:
        """Compare BODY with what runs."""
        return prepare(self.server, self.home, self.defs(body), self.name, self.scripts, **extra)

    def deploy(self, body: str, suspended: bool = False, **extra: Any) -> Deployed:
        """Deploy BODY."""
        return carry_out(self.prepare(body, **extra), {"Deployment": "test.yaml"}, suspended)

    def wanted(self, body: str) -> Definition:
        """BODY as our definition."""
        return definition(self.defs(body), self.name)

    def running(self) -> Definition:
        """What the server has."""
        found = self.server.fetch(self.name)
        assert found is not None
        return found

    def state(self, path: str) -> str:
        """State of the node at PATH below the suite; empty for the suite."""
        return self.running().nodes[f"/{self.name}{path}"].state

    def submitted(self) -> list[str]:
        """Tasks in the order of their submissions."""
        file = self.home / "submitted"
        return file.read_text().split() if file.exists() else []

    def wait(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for the server."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the server did not get there"
            time.sleep(0.05)

    def job(self, path: str, pid: str = "77") -> Any:
        """Speak for the job of the task at PATH: a child client with the password of its current try."""
        node = self.running().nodes[f"/{self.name}{path}"]
        return self.server.child(node.path, node.facts["passwd"], node.tries, pid)

    def start(self, path: str) -> Any:
        """Wait until the task is submitted, and let its job begin."""
        # the server does not wait for the submit command
        self.wait(lambda: self.state(path) == "submitted" and f"/{self.name}{path}" in self.submitted())
        job = self.job(path)
        job.child_init()
        return job


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """An empty place for one suite; the suite is deleted afterwards."""
    (tmp_path / "jobs").mkdir()
    one = Bench(server, tmp_path, f"suite{next(_NUMBER)}")
    yield one
    if server.fetch(one.name) is not None:
        one.client.delete(f"/{one.name}", True)
