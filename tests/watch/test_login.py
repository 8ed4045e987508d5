"""What `hosts login` does for the tasks that wait, and whose authority is used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.hosts import mux, reach
from ml_suite.hosts.credentials import State
from ml_suite.hosts.reach import Reach
from ml_suite.server.address import Address, find
from ml_suite.server.client import Server, connect
from ml_suite.server.definition import attributes
from ml_suite.services.addresses import Places
from ml_suite.services.credentials import Secrets
from ml_suite.services.ecflow import Ecflow
from ml_suite.services.ports import choose
from ml_suite.services.server import NotReadyError, Setting, base_environment
from ml_suite.watch import OPEN, agent, deploy
from ml_suite.watch.login import node_of, publish, seen
from ml_suite.watch.registry import Watched
from tests.hosts.sshd_fixture import NAME, Sshd, wait_for
from tests.hosts.test_login import describe
from tests.watch.conftest import Rig, wait

HOST = f"/ml_suite/{NAME}"


def test_a_login_opens_the_host_at_once(rig: Rig, certified: Sshd, home: Path, tmp_path: Path) -> None:
    rig.deploy("demo", Watched(NAME), **{NAME: certified.way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    certified.sign("-2h", "-1h")
    mux.close_master(certified.way)
    rig.look()
    rig.user_suite("demo", far=NAME)
    certified.sign("-1m", "+5h")
    describe(home, tmp_path, auth="{kind: certificate, lifetime: 12h, renew: step ssh login EMAIL}")
    done = login()
    assert done.returncode == 0, done.stderr
    assert rig.limit() == OPEN
    assert rig.label(HOST, "state").startswith(("ready, 5 h", "ready, 4 h 59"))
    wait(lambda: rig.state("/demo/far") == "submitted", "the task")


def test_a_login_needs_no_server(sshd: Sshd, home: Path, tmp_path: Path, free_port: int) -> None:
    describe(home, tmp_path)
    file = tmp_path / "ml" / "watch" / "hosts.json"
    file.parent.mkdir(parents=True)
    server = f'"host": "localhost", "port": {free_port + 1}, "embedded": false, "passwd": null'
    file.write_text(f'{{"gone": {{{server}, "suites": {{"demo": {{"{NAME}": []}}}}}}}}')
    begun = time.monotonic()
    done = login()
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - begun < 10
    file.write_text("damaged")
    assert login().returncode == 0


def login() -> subprocess.CompletedProcess[str]:
    code = "from ml_suite.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "hosts", "login", NAME], capture_output=True, text=True, check=False
    )


def test_a_host_of_two_machines_is_as_open_as_the_worse(home: Path) -> None:
    control = Reach(NAME, address="a.invalid")
    files = replace(control, endpoint=reach.TRANSFER)
    found = seen({control: State("ready", 700), files: State("ready-expiring", 30, hint="Run: renew")})
    assert (found.open, found.minutes, found.text) == (True, 30, "ready-expiring, 30 min: renew")
    found = seen({control: State("ready"), files: State("needs-human", reason="?", hint="Run: log in")})
    assert (found.open, found.minutes, found.text) == (False, 0, "needs-human: log in")
    found = seen({control: State("down", reason="x"), files: State("needs-human", hint="Run: log in")})
    assert found.text == "needs-human: log in"
    assert seen({control: State("ready")}).minutes == 1440


@pytest.fixture
def embedded(tmp_path: Path, home: Path, rig: Rig) -> Iterator[Path]:
    """An ecFlow server of `ml-suite services`, which asks for its password."""
    folder = tmp_path / "ml"
    places = Places(folder)
    setting = Setting(places, Secrets.keep(places.secrets), {"ecflow": choose(("main",), {}, set())})
    service = Ecflow()
    service.data(setting).mkdir(parents=True)
    service.prepare(setting)
    process = subprocess.Popen(
        service.command(setting),
        env=base_environment() | service.environment(setting),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(100):
        try:
            service.check(setting, fresh=True)
            break
        except NotReadyError:
            time.sleep(0.1)
    yield folder
    process.kill()
    process.wait()


def test_tasks_have_the_authority_of_the_user_on_the_embedded_server(embedded: Path) -> None:
    address = find(embedded)
    assert address.environment
    server = connect(address)
    way = Reach("nearby")
    deploy.deploy(server, embedded, "demo", [Watched("nearby")], [(way, way)])
    wait(lambda: limit(server) == str(OPEN), "open limit", 70)
    publish("nearby", {way: State("needs-human", hint="Run: log in")}, embedded)
    assert limit(server) == "0"


def limit(server: Server) -> str:
    node = node_of(server, "nearby")
    assert node is not None
    return next(a.value for a in attributes(node) if a.key == ("limit", "open"))


def test_the_agent_of_the_person_is_used_while_it_lives(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    wait_for(path.exists, "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    agent.remember(tmp_path)
    monkeypatch.delenv("SSH_AUTH_SOCK")
    agent.adopt(tmp_path)
    assert os.environ["SSH_AUTH_SOCK"] == str(path)
    monkeypatch.setenv("SSH_AUTH_SOCK", "mine")
    agent.adopt(tmp_path)
    assert os.environ["SSH_AUTH_SOCK"] == "mine"
    process.terminate()
    process.wait()
    monkeypatch.delenv("SSH_AUTH_SOCK")
    agent.adopt(tmp_path)
    assert "SSH_AUTH_SOCK" not in os.environ


def test_a_server_that_watches_no_such_host_is_left_alone(rig: Rig, home: Path) -> None:
    address = Address("localhost", rig.port, "test")
    publish("stranger", {Reach("stranger"): State("ready")}, rig.home, address)
    assert connect(address).suites() == []
