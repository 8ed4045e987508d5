"""A real MLflow tracking server on SQLite that can be killed and started again with its data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ml_suite.services import ports
from ml_suite.stores.connections import Mlflow


class RunningMlflow:
    """One server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # not one that the system gives out: it must stay free while this server is down
        self.port = ports.choose(("mlflow",), {}, set())["mlflow"]
        self.connection = Mlflow(url=f"http://127.0.0.1:{self.port}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        if self.process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    "DO_NOT_TRACK": "true",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 120
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"mlflow server: {(self.folder / 'log').read_text()[-800:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to the server and its worker."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.connection.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
