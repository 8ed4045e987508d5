"""The ecFlow server that a benchmark runs for itself."""

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

import ecflow

from ml_suite.server.address import Address


@contextlib.contextmanager
def running_server(home: Path) -> Iterator[Address]:
    """Run a server for this benchmark only, which the user of the benchmark alone may use."""
    port = random.randrange(20000, 32000)
    lists = home / "lists"
    lists.write_text(f"#\n4.4.14\n{getpass.getuser()}\n")
    environment = {**os.environ, "ECF_HOME": str(home), "ECF_LISTS": str(lists)}
    with (home / "server.out").open("wb") as out:
        process = subprocess.Popen(
            ["ecflow_server", f"--port={port}"], cwd=home, env=environment, stdout=out, stderr=out
        )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("localhost", port), 1).close()
                break
            time.sleep(0.1)
        client = ecflow.Client("localhost", port)
        client.restart_server()
        yield Address("localhost", port, "benchmark")
        client.halt_server()
        client.terminate_server()
        process.wait(10)
    finally:
        process.kill()
