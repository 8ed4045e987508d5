"""One real ecFlow server for the whole test session, on a free port, stopped the way an operator stops it."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def registered_port() -> int:
    """A free port between 20000 and 32000: ecFlow refuses the range that the kernel hands out."""
    for port in random.sample(range(20000, 32000), 50):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port between 20000 and 32000")


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a server in FOLDER and wait until it answers; only the user of the tests may read or write."""
    import ecflow

    folder.mkdir(mode=0o700, exist_ok=True)
    lists = folder / f"{socket.gethostname()}.{port}.ecf.lists"
    lists.write_text(f"#\n4.4.14\n{getpass.getuser()}\n")
    with (folder / "server.out").open("ab") as out:
        process = subprocess.Popen(
            ["ecflow_server", f"--port={port}"],
            cwd=folder,
            env={**os.environ, "ECF_HOME": str(folder), "ECF_LISTS": str(lists)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            umask=0o077,
        )
    client = ecflow.Client("localhost", port)
    client.set_connection_attempts(1)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeError):
            client.ping()
            return process
        assert process.poll() is None, (folder / "server.out").read_text()
        time.sleep(0.05)
    process.kill()
    pytest.fail("the ecFlow server did not answer within 15 s")


def stop_server(process: subprocess.Popen[bytes], port: int) -> None:
    """Halt, check point, terminate."""
    import ecflow

    client = ecflow.Client("localhost", port)
    client.halt_server()
    client.checkpt()
    client.terminate_server()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def ecflow_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a running server."""
    import ecflow

    port = registered_port()
    process = start_server(tmp_path_factory.mktemp("ecflow") / "home", port)
    ecflow.Client("localhost", port).restart_server()
    yield "localhost", port
    stop_server(process, port)
