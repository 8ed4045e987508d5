"""An ecFlow server and an sshd of the test's own, and the watch suite between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ecflow
import pytest

import ml_suite
from ml_suite.hosts.jobfile import JobFiles, alive
from ml_suite.hosts.reach import Reach
from ml_suite.server.address import Address
from ml_suite.server.client import connect
from ml_suite.server.deploy import Deployed
from ml_suite.watch import deploy
from ml_suite.watch.registry import Watched
from tests.ecflow_fixture import registered_port, start_server, stop_server
from tests.hosts.sshd_fixture import NAME, Sshd, home, sshd

__all__ = ["home", "sshd"]

NEAR = "nearby"
"""A second host, which needs no way in: this machine."""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was when the tests began: the library's name holds its digest."""
    copy = tmp_path_factory.mktemp("package") / "ml_suite"
    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(Path(ml_suite.__file__).parent, copy, ignore=ignored)
    return copy


@dataclass
class Rig:
    """One server."""

    folder: Path
    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Any:
        return ecflow.Client("localhost", self.port)

    def deploy(self, suite: str, *hosts: Watched, **ways: Reach) -> Deployed | None:
        """As the command line does before it deploys SUITE."""
        server = connect(Address("localhost", self.port, "test"))
        found = [ways.get(host.name, Reach(host.name)) for host in hosts]
        return deploy.deploy(server, self.home, suite, hosts, [(way, way) for way in found])

    def user_suite(self, name: str, **hosts: str) -> None:
        """A suite whose tasks need one host each; what is submitted stays so."""
        lines = [f"suite {name}", "  edit ECF_JOB_CMD 'true'", "  edit ECF_SCRIPT_CMD 'echo :'"]
        lines.append(f"  edit ECF_HOME '{self.folder}/user'")
        for task, host in hosts.items():
            lines += [f"  task {task}", f"    inlimit /ml_suite/{host}:open"]
        file = self.folder / f"{name}.def"
        externs = [f"extern /ml_suite/{host}:open" for host in hosts.values()]
        file.write_text("\n".join([*externs, *lines, "endsuite", ""]))
        self.client.load(ecflow.Defs(str(file)))
        self.client.begin_suite(name)

    def node(self, path: str) -> Any:
        client = self.client
        client.sync_local()
        found = client.get_defs().find_abs_node(path)
        assert found is not None, path
        return found

    def state(self, path: str) -> str:
        return str(self.node(path).get_state())

    def label(self, path: str, name: str) -> str:
        return next(str(x.new_value()) for x in self.node(path).labels if x.name() == name)

    def meter(self, path: str, name: str) -> int:
        return next(int(x.value()) for x in self.node(path).meters if x.name() == name)

    def limit(self, host: str = NAME) -> int:
        return next(int(x.limit()) for x in self.node(f"/ml_suite/{host}").limits if x.name() == "open")

    def red(self) -> list[str]:
        """Tasks of all suites that are aborted."""
        client = self.client
        client.sync_local()
        nodes = client.get_defs().get_all_tasks()
        return [n.get_abs_node_path() for n in nodes if str(n.get_state()) == "aborted"]

    def look(self, host: str = NAME) -> str:
        """Do now what the task does every minute, in its place; returns the output."""
        path = f"/ml_suite/{host}/login"
        self.client.suspend(path)
        wait(lambda: self.state(path) in ("queued", "complete"), "the task at rest", 60)
        library = next(v.value() for v in self.node("/ml_suite").variables if v.name() == "ML_SUITE_LIB")
        done = subprocess.run(
            [sys.executable, "-m", "ml_suite.watch", "login", host],
            env={**os.environ, "PYTHONPATH": library, "ECF_HOST": "localhost", "ECF_PORT": str(self.port)},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    def job(self, path: str) -> JobFiles:
        """Files of the task's last try."""
        place, number = self.home / "jobs" / path[1:], max(self.node(path).get_int_try_no(), 1)
        return JobFiles(
            place.with_name(f"{place.name}.job{number}"), place.with_name(f"{place.name}.{number}")
        )

    def runs(self, path: str) -> bool:
        """Whether the task is active and its job's shell lives."""
        running = self.job(path).running
        return self.state(path) == "active" and running is not None and alive(running.pid, running.started)

    def shell(self, path: str) -> int:
        """Pid of the job's shell, once it runs."""
        wait(lambda: self.runs(path), f"{path} to run", 90)
        running = self.job(path).running
        assert running is not None
        return running.pid

    def crash(self) -> None:
        """Kill the server and start it from its checkpoint."""
        self.process.kill()
        self.process.wait()
        self.start()

    def start(self) -> None:
        self.process = start_server(self.folder / "ecflow", self.port)
        self.client.restart_server()

    def end(self) -> None:
        """Stop everything, relays first."""
        client = self.client
        client.sync_local()
        for suite in client.get_defs().suites:
            client.suspend(suite.get_abs_node_path())
        time.sleep(1)
        for record in (self.home / "jobs").rglob("*.job"):
            running = JobFiles(record, record.with_suffix("")).running
            for pid, started in (
                ((running.keeper, running.keeper_started), (running.pid, running.started)) if running else ()
            ):
                if alive(pid, started):
                    os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGKILL)
        stop_server(self.process, self.port)


def wait(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} in {seconds} s"
        time.sleep(0.1)


@pytest.fixture
def rig(tmp_path: Path, home: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A server on which nothing is deployed."""
    monkeypatch.setattr("ml_suite.__file__", str(package / "__init__.py"))
    for name in ("ECF_HOST", "ECF_PORT", "ECF_PASSWD"):
        monkeypatch.delenv(name, raising=False)
    port = registered_port()
    found = Rig(tmp_path, tmp_path / "ml", port, start_server(tmp_path / "ecflow", port))
    found.client.restart_server()
    yield found
    found.end()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def certified(sshd: Sshd) -> Sshd:
    """A host that takes a certificate, which is valid; it can be renewed any time."""
    sshd.want_certificates()
    sshd.sign("-1m", "+11h")
    sshd.way = replace(sshd.way, wait=0.1)
    return sshd
