"""Reaching a server, and what is said when that fails."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_suite.errors import MlSuiteError, ServerUnreachable
from ml_suite.server.address import Address, find
from ml_suite.server.client import Server, connect
from tests.ecflow_fixture import registered_port


@pytest.fixture(autouse=True)
def _no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ECF_HOST", "ECF_PORT", "ECF_PASSWD"):
        monkeypatch.delenv(name, raising=False)


def embedded(home: Path, port: int = 23141, host: str = "localhost") -> None:
    """Write what the services leave for clients."""
    folder = home / "services" / "ecflow"
    folder.mkdir(parents=True)
    (folder / "address.json").write_text(
        json.dumps({"host": host, "port": port, "passwd": "/some/ecf.passwd"})
    )


def test_flag_goes_before_environment_before_deployment_before_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded(tmp_path)
    assert str(find(tmp_path)) == "localhost:23141"
    assert find(tmp_path).environment == {"ECF_PASSWD": "/some/ecf.passwd"}
    assert find(tmp_path).exports == "export ECF_HOST=localhost ECF_PORT=23141 ECF_PASSWD=/some/ecf.passwd"
    assert str(find(tmp_path, deployment=("ops", 3142))) == "ops:3142"
    monkeypatch.setenv("ECF_HOST", "ecflow-ml")
    assert str(find(tmp_path, deployment=("ops", 3142))) == "ecflow-ml:3141"
    assert str(find(tmp_path, "elsewhere:4000", ("ops", 3142))) == "elsewhere:4000"
    assert find(tmp_path, "elsewhere:4000").environment == {}


def test_the_embedded_server_is_known_by_its_port_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded(tmp_path)
    assert find(tmp_path, "127.0.0.1:23141").environment
    assert not find(tmp_path, "localhost:3141").environment
    monkeypatch.setenv("ECF_PASSWD", "/my/own")
    assert not find(tmp_path, "localhost:23141").environment


@pytest.mark.parametrize("flag", ["host:", "host:x", "host:0", "host:99999", "host:-1"])
def test_a_bad_port_is_named(tmp_path: Path, flag: str) -> None:
    if flag == "host:":
        assert find(tmp_path, flag).port == 3141
        return
    with pytest.raises(ServerUnreachable, match="is not a port of an ecFlow server"):
        find(tmp_path, flag)


def test_without_any_server_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable, match="ml-suite services up"):
        find(tmp_path)


def test_nobody_answers(free_port: int) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        connect(Address("localhost", free_port, "from ECF_HOST"))
    assert f"no ecFlow server answers at localhost:{free_port} (from ECF_HOST)" in str(caught.value)
    assert "ml-suite services up" in (caught.value.hint or "")
    assert caught.value.exit_code == 5


def test_the_name_is_unknown() -> None:
    with pytest.raises(ServerUnreachable, match=r"the name no-such-host\.invalid of the ecFlow server"):
        connect(Address("no-such-host.invalid", 3141, "from the deployment"))


@contextmanager
def program(answer: bytes | None) -> Iterator[int]:
    """Listen on a port with something that is not ecFlow."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                    kept.append(one)
                    if answer is not None:
                        one.sendall(answer)
                        one.close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "http"])
def test_another_program_on_the_port_is_told_apart(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_suite.server.client._PING_SECONDS", "1")
    with program(answer) as port:
        start = time.monotonic()
        with pytest.raises(ServerUnreachable, match="does not answer as an ecFlow server"):
            connect(Address("localhost", port, "--server"))
        assert time.monotonic() - start < 5


def test_the_binding_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ecflow'] = None\n"
        "from ml_suite.server.address import Address\n"
        "from ml_suite.server.client import connect\n"
        "from ml_suite.errors import ServerUnreachable\n"
        "import ml_suite.server.plan, ml_suite.server.carry, ml_suite.server.status\n"
        "try: connect(Address('localhost', 3141, 'x'))\n"
        "except ServerUnreachable as e: print(e); sys.exit(e.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "apt install python3-ecflow" in done.stdout
    assert "conda install -c conda-forge ecflow" in done.stdout


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Port and client password file of a server that asks for a password."""
    port, host, user = registered_port(), socket.gethostname(), getpass.getuser()
    passwords = tmp_path / "ecf.passwd"
    names = (host, "localhost")
    passwords.write_text("4.5.0\n" + "".join(f"{user} {name} {port} s3cret\n" for name in names))
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            ["ecflow_server", f"--port={port}"],
            cwd=tmp_path,
            env={**os.environ, "ECF_HOME": str(tmp_path), "ECF_PASSWD": str(passwords)},
            stdout=out,
            stderr=out,
        )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("localhost", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port, passwords
    process.kill()
    process.wait()


def test_a_password_is_used_or_its_lack_explained(locked: tuple[int, Path]) -> None:
    port, passwords = locked
    with pytest.raises(ServerUnreachable, match="refused user or password") as caught:
        connect(Address("localhost", port, "from ECF_HOST"))
    assert "ECF_PASSWD" in (caught.value.hint or "")
    server = connect(Address("localhost", port, "embedded", {"ECF_PASSWD": str(passwords)}))
    assert server.suites() == []
    assert "ECF_PASSWD" not in os.environ


def test_a_server_that_goes_away_is_unreachable(locked: tuple[int, Path]) -> None:
    port, passwords = locked
    server = connect(Address("localhost", port, "embedded", {"ECF_PASSWD": str(passwords)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECF_PASSWD", str(passwords))
        server._client.halt_server()
        server._client.terminate_server()
    time.sleep(0.5)
    with pytest.raises(ServerUnreachable):
        server.fetch("any")


def test_a_request_that_is_refused_is_an_expected_error(server: Server) -> None:
    with pytest.raises(MlSuiteError, match="refused: "):
        server.begin("no-such-suite")


def test_a_suite_that_is_not_there_is_none(server: Server) -> None:
    assert server.fetch("no_such_suite") is None
    assert "no_such_suite" not in server.suites()
