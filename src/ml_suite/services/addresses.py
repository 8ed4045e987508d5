"""Where the embedded services keep their files, and how a client finds the ecFlow server: standard library only.

::

    HOME/connections.json            S3, MLflow, catalogue (ml_suite.stores.connections)
    HOME/services/secrets.json       generated credentials, mode 0600
    HOME/services/lock               held by `services up` and `services down`
    HOME/services/<name>/            state.json (pid, start, ports), log, data/
    HOME/services/ecflow/            address.json, ecf.passwd and ecf.lists as well
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ml_suite.errors import ServerUnreachable

HOST = "localhost"
"""The name under which clients call the embedded ecFlow server; its password file holds this and 127.0.0.1."""


@dataclass(frozen=True)
class Places:
    """Paths below ML_SUITE_HOME."""

    home: Path

    @property
    def services(self) -> Path:
        """Everything of the embedded servers."""
        return self.home / "services"

    @property
    def connections(self) -> Path:
        """Addresses and credentials of S3, MLflow and the catalogue."""
        return self.home / "connections.json"

    @property
    def secrets(self) -> Path:
        """Generated credentials."""
        return self.services / "secrets.json"

    @property
    def lock(self) -> Path:
        """Held while services are started or stopped."""
        return self.services / "lock"

    @property
    def ecflow_address(self) -> Path:
        """Host, port and password file of the ecFlow server."""
        return self.services / "ecflow" / "address.json"

    def folder(self, name: str) -> Path:
        """State, log and data of one server."""
        return self.services / name


def client_environment(home: Path) -> dict[str, str]:
    """Variables with which ``ecflow_client``, ``ecflow_ui`` and ``ecflow.Client`` reach the embedded server.

    The binding reads ECF_PASSWD from ``os.environ`` when a request is sent, ``ecflow_client`` when it starts.

    Raises
    ------
    ServerUnreachable
        If no embedded server was ever started in this home.
    """
    path = Places(home).ecflow_address
    try:
        address = json.loads(path.read_text())
        return {
            "ECF_HOST": address["host"],
            "ECF_PORT": str(address["port"]),
            "ECF_PASSWD": address["passwd"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerUnreachable(
            f"{path} does not name an ecFlow server", "Run: ml-suite services up"
        ) from error
