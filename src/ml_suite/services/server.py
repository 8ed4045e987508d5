"""What every embedded server is: a command, ports, files it needs first, and a check that really uses it."""

from __future__ import annotations

import locale
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_suite.errors import MlSuiteError
from ml_suite.services.addresses import Places
from ml_suite.services.credentials import Secrets
from ml_suite.services.process import Process, end

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Setting:
    """What servers know of each other before any is started."""

    places: Places
    secrets: Secrets
    ports: Mapping[str, Mapping[str, int]]
    """Service name to port name to port."""

    def port(self, service: str) -> int:
        """The port under which clients reach a service."""
        return self.ports[service]["main"]

    def url(self, service: str) -> str:
        """Address of an HTTP service."""
        return f"http://{LOOPBACK}:{self.port(service)}"


class NotReadyError(Exception):
    """The server does not do its work yet; asked again until its time is up."""


class Server(ABC):
    """One embedded server."""

    name: str
    ports: tuple[str, ...] = ("main",)
    seconds: float = 60.0
    """How long the server may take until its check passes."""
    family: bool = True
    """Whether its child processes end with it."""

    @abstractmethod
    def require(self) -> None:
        """Look for the program.

        Raises
        ------
        MlSuiteError
            If it is not installed; the hint says how to install it.
        """

    @abstractmethod
    def prepare(self, setting: Setting) -> None:
        """Write the files that the server reads when it starts."""

    @abstractmethod
    def command(self, setting: Setting) -> list[str]:
        """Program and arguments; no secret among them."""

    @abstractmethod
    def environment(self, setting: Setting) -> dict[str, str]:
        """Variables beside those of the shell."""

    @abstractmethod
    def check(self, setting: Setting, fresh: bool) -> str:
        """Use the server as a client would and return a remark for the user, often empty.

        Parameters
        ----------
        fresh
            The server was just started by us.

        Raises
        ------
        NotReadyError
            If it does not work yet.
        """

    def stop(self, setting: Setting, process: Process) -> None:
        """End the server in the order that keeps its data."""
        end(process, family=self.family)

    def data(self, setting: Setting) -> Path:
        """Folder of its data."""
        return setting.places.folder(self.name) / "data"


def base_environment() -> dict[str, str]:
    """The shell's variables without those that would lead a server of ours to somebody else's services."""
    foreign = ("AWS_", "ECF_", "MLFLOW_", "S3_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    none = ",".join(filter(None, (kept.get("NO_PROXY") or kept.get("no_proxy"), LOOPBACK, "localhost")))
    kept |= {"NO_PROXY": none, "no_proxy": none}
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        # ecflow_server aborts with a locale that is not installed
        kept["LC_ALL"] = "C.UTF-8"
    return kept


def wait_until_ready(server: Server, setting: Setting, process: Process, fresh: bool) -> str:
    """Repeat the check until it passes, the server ends or its time is up; return the check's remark.

    Raises
    ------
    MlSuiteError
        With the last reason and the end of the server's log.
    """
    deadline = time.monotonic() + (server.seconds if fresh else 10.0)
    while True:
        alive = process.alive
        try:
            remark = server.check(setting, fresh)
        except NotReadyError as error:
            reason = str(error)
        else:
            if process.alive:
                return remark
            reason, alive = "another program answers at its port", False
        if not alive:
            raise failure(server, setting, f"{server.name} ended when it was started")
        if time.monotonic() > deadline:
            raise failure(server, setting, f"{server.name} does not work: {reason}")
        time.sleep(0.05)


def failure(server: Server, setting: Setting, message: str) -> MlSuiteError:
    """Make an error that shows the end of the server's log."""
    log = setting.places.folder(server.name) / "log"
    lines = log.read_text(errors="replace").strip().splitlines()[-8:] if log.exists() else []
    shown = "".join(f"\n    | {line[:200]}" for line in lines)
    return MlSuiteError(f"{message}; the end of {log}:{shown}", "Then run again: ml-suite services up")
