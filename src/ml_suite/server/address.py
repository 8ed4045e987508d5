"""Which ecFlow server: flag, environment, deployment, embedded services, in this order."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ml_suite.errors import ServerUnreachable

_SECONDS = 3.0


@dataclass(frozen=True)
class Address:
    """Host and port of a server, where they were found, and the variables that clients of it need."""

    host: str
    port: int
    origin: str
    """For messages: ``ECF_HOST``, ``--server``."""
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """ECF_PASSWD for a server that asks for a password; a file's name, no secret itself."""

    @property
    def identity(self) -> str:
        """What stays the same when the embedded server gets another port."""
        return "the embedded server" if self.environment else str(self)

    @property
    def exports(self) -> str:
        """What to type before ``ecflow_client`` and ``ecflow_ui`` reach this server."""
        variables = {"ECF_HOST": self.host, "ECF_PORT": str(self.port), **self.environment}
        return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())

    @property
    def here(self) -> bool:
        """Whether the server runs on this machine and sees its files."""
        return self.host in ("localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn())

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def find(home: Path, flag: str | None = None, deployment: tuple[str, int] | None = None) -> Address:
    """Look an address up.

    Parameters
    ----------
    home
        Folder of the embedded services.
    flag
        ``HOST:PORT`` or ``HOST`` from the command line.
    deployment
        Host and port that the deployment names.

    Raises
    ------
    ServerUnreachable
        If nothing names a server, or a port is no number.
    """
    embedded = _embedded(home)
    if flag:
        host, _, port = flag.partition(":")
        return _known(embedded, host, port or "3141", "from --server")
    if named := os.environ.get("ECF_HOST"):
        return _known(embedded, named, os.environ.get("ECF_PORT") or "3141", "from ECF_HOST")
    if deployment:
        return _known(embedded, deployment[0], str(deployment[1]), "from the deployment")
    if embedded:
        return embedded
    raise ServerUnreachable(
        "no ecFlow server is named",
        "Start one here: ml-suite services up    Or name one: --server HOST:PORT, ECF_HOST and ECF_PORT, "
        "or server: {host: HOST, port: PORT} in the deployment",
    )


def check(address: Address, seconds: float = _SECONDS) -> None:
    """Open a connection and close it, to tell what is wrong before ecFlow's client, which only says that it failed.

    Raises
    ------
    ServerUnreachable
        If the name is unknown, nobody listens there, or nothing answers in time.
    """
    try:
        socket.create_connection((address.host, address.port), seconds).close()
    except socket.gaierror as error:
        raise ServerUnreachable(
            f"the name {address.host} of the ecFlow server ({address.origin}) is unknown",
            "Check the spelling.",
        ) from error
    except TimeoutError as error:
        raise ServerUnreachable(
            f"no answer from {address} ({address.origin}) within {seconds:.0f} s",
            "Is it behind a firewall? Try a tunnel: ssh -L 3141:localhost:PORT HOST, then --server localhost:3141",
        ) from error
    except OSError as error:
        hint = (
            "Start it: ml-suite services up"
            if address.origin == "embedded"
            else "Start one for a trial: ml-suite services up    Or check without a server: ml-suite validate FILE"
        )
        raise ServerUnreachable(f"no ecFlow server answers at {address} ({address.origin})", hint) from error


def _embedded(home: Path) -> Address | None:
    from ml_suite.services.addresses import client_environment

    try:
        found = client_environment(home)
    except ServerUnreachable:
        return None
    login = {k: v for k, v in found.items() if k not in ("ECF_HOST", "ECF_PORT")}
    return Address(found["ECF_HOST"], int(found["ECF_PORT"]), "embedded", login)


def _known(embedded: Address | None, host: str, port: str, origin: str) -> Address:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ServerUnreachable(
            f"{port!r} {origin} is not a port of an ecFlow server", "Write HOST:PORT, as localhost:3141."
        )
    local = {"localhost", "127.0.0.1"}
    same = embedded and embedded.port == int(port) and {host, embedded.host} <= local | {embedded.host}
    # a person's own ECF_PASSWD goes before the embedded server's
    login = embedded.environment if same and embedded and "ECF_PASSWD" not in os.environ else {}
    return Address(host, int(port), origin, login)
