"""A spool with the shim, an ecFlow server that tests may halt, and suites whose jobs have no network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ecflow
import pytest

from ml_suite.relay.pull import Spool, here
from ml_suite.relay.relay import Relay
from ml_suite.relay.spool import SHIM
from ml_suite.server.address import Address
from tests.ecflow_fixture import registered_port, start_server, stop_server
from tests.hosts.sshd_fixture import home, sshd

__all__ = ["home", "sshd"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A server of this module alone."""
    port = registered_port()
    process = start_server(tmp_path_factory.mktemp("ecflow") / "home", port)
    ecflow.Client("localhost", port).restart_server()
    yield Address("localhost", port, "test")
    stop_server(process, port)


@dataclass
class Job:
    """Environment of a job and the shim to speak with."""

    spool: Path
    path: str = "/s/t"
    password: str = "pass1234"
    try_number: int = 1
    pid: str = "77"
    shell: tuple[str, ...] = ("sh",)
    more: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "ML_SUITE_SPOOL": str(self.spool),
            "ECF_NAME": self.path,
            "ECF_PASS": self.password,
            "ECF_TRYNO": str(self.try_number),
            "ECF_RID": self.pid,
            **self.more,
        }
        return subprocess.run(
            [*self.shell, str(SHIM / "ecflow_client"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=check,
        )


@dataclass
class Suite:
    """A suite on a real server."""

    client: ecflow.Client
    name: str
    folder: Path

    def task(self, name: str = "t") -> ecflow.Task:
        self.client.sync_local()
        return self.client.get_defs().find_abs_node(f"/{self.name}/{name}")

    def state(self, name: str = "t") -> str:
        return str(self.task(name).get_state())

    def wait(self, name: str, *states: str, seconds: float = 30) -> None:
        until(lambda: self.state(name) in states, seconds, f"{name} is {self.state(name)}")

    def job(self, spool: Path, name: str = "t", **fields: str) -> Job:
        """Speak for the job that the server submitted last."""
        task = self.task(name)
        return Job(spool, f"/{self.name}/{name}", task.get_jobs_password(), task.get_int_try_no(), **fields)

    def snapshot(self, name: str) -> tuple[object, ...]:
        task = self.task(name)
        return (
            str(task.get_state()),
            task.get_int_try_no(),
            [(m.name(), m.value()) for m in task.meters],
            [(e.name(), e.value()) for e in task.events],
            [(label.name(), label.new_value()) for label in task.labels],
            str(task.get_aborted_reason()),
        )


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} s: {what}")
        time.sleep(0.05)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def load(server: Address, tmp_path: Path) -> Callable[..., Suite]:
    """Start a suite; without scripts its tasks are submitted and nothing runs."""

    def start(*tasks: str, variables: dict[str, object] | None = None, tries: int = 1) -> Suite:
        name = f"relay_{os.getpid()}_{time.monotonic_ns()}"
        defs = ecflow.Defs()
        suite = defs.add_suite(name)
        home = tmp_path / name
        home.mkdir(mode=0o700)
        values = {
            "ECF_HOME": home,
            "ECF_TRIES": tries,
            "ECF_JOB_CMD": "true",
            "ECF_SCRIPT_CMD": "echo :",
            **(variables or {}),
        }
        for key, value in values.items():
            suite.add_variable(key, str(value))
        for each in tasks or ("t",):
            task = suite.add_task(each)
            task.add_meter("done", 0, 10000, 10000)
            task.add_label("info", "-")
            task.add_event("ready")
            task.add_event("late")
        client = ecflow.Client(server.host, server.port)
        client.load(defs)
        client.begin_suite(name)
        found = Suite(client, name, tmp_path)
        if variables is None:
            for each in tasks or ("t",):
                found.wait(each, "submitted")
        return found

    return start


@pytest.fixture
def relay(server: Address, spool: Path, tmp_path: Path) -> Iterator[Relay]:
    found = Relay(Spool(spool, here), tmp_path / "state", server, gap_seconds=0.3)
    yield found
    found.close()


@pytest.fixture
def relay_command(server: Address, spool: Path, tmp_path: Path, repository: Path) -> Callable[..., list[str]]:
    def command(*more: str) -> list[str]:
        base = [sys.executable, "-m", "ml_suite.relay", "--spool", str(spool), "--server", str(server)]
        return [*base, "--state", str(tmp_path / "state"), *more]

    return command
