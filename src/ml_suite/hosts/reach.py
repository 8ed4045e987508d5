"""How to reach a host: what SSH needs to know of one endpoint.

Standard library only, and kept in a file, so that the command that ecFlow calls per job needs no host file.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite import atomic
from ml_suite.errors import HostError
from ml_suite.home import home

if TYPE_CHECKING:
    from ml_suite.hosts.host import Host

CONTROL = "control"
TRANSFER = "transfer"


@dataclass(frozen=True)
class Reach:
    """One endpoint of a host."""

    host: str
    """Name of the host file, also looked up in the user's ssh configuration."""
    endpoint: str = CONTROL
    address: str | None = None
    """None: this machine, without SSH."""
    nodes: tuple[str, ...] = ()
    """Machines behind the address: one is taken, because sockets and /tmp are a node's own."""
    user: str | None = None
    auth: str = "key"
    """none, key, certificate, totp."""
    lifetime: int | None = None
    """Seconds that a login lasts."""
    renew: str | None = None
    """Command by which a person gets a new certificate."""
    prompt: str | None = None
    """What the host asks when it wants a code; None: anything but a passphrase."""
    shell: bool = True
    """It runs commands; otherwise files can only be copied."""
    sessions: int = 6
    """Commands at once."""
    wait: float = 10.0
    """Seconds between two new connections, and of the first pause after a refusal."""

    @property
    def here(self) -> bool:
        """No SSH needed."""
        return self.address is None

    @property
    def name(self) -> str:
        """Unique among the endpoints.

        >>> Reach("big").name
        'big.control'
        """
        return f"{self.host}.{self.endpoint}"

    def file(self, ending: str) -> Path:
        """File that this endpoint keeps."""
        return folder() / f"{self.name}.{ending}"

    def wants_code(self, question: str) -> bool:
        """Whether a question of ssh is for the one-time code: a code goes nowhere else.

        >>> Reach("big").wants_code("(me@big) Verification code: ")
        True
        >>> Reach("big").wants_code("Enter passphrase for key '/home/me/.ssh/id': ")
        False
        """
        if self.prompt:
            return self.prompt.strip() in question
        return not re.search(r"(?i)passphrase|yes/no|\bPIN\b", question)


def folder() -> Path:
    """Where connections keep their files, 0700."""
    path = home() / "ssh"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def of(name: str, host: Host, user: str | None = None) -> tuple[Reach, Reach]:
    """Control and transfer endpoint of a host; both the same when it has only one.

    Parameters
    ----------
    user
        The deployment's; without it that of the user's own host file, then OpenSSH's.
    """
    lifetime = int(host.auth.lifetime.total_seconds()) if host.auth.lifetime else None

    def made(endpoint: str) -> Reach:
        facts = host.transfer if endpoint == TRANSFER else host.control
        if facts is None:
            return Reach(name, endpoint, auth="none")
        return Reach(
            host=name,
            endpoint=endpoint,
            address=facts.address,
            nodes=facts.nodes,
            user=user or host.user,
            auth=host.auth.kind,
            lifetime=lifetime,
            renew=host.auth.renew,
            prompt=host.auth.prompt,
            shell=facts.shell,
            sessions=host.connections.sessions,
            wait=host.connections.wait.total_seconds(),
        )

    control = made(CONTROL)
    return control, made(TRANSFER) if host.transfer else control


def save(reaches: tuple[Reach, Reach]) -> None:
    """Keep them for `known`."""
    path = folder() / f"{reaches[0].host}.json"
    text = json.dumps([asdict(reach) for reach in reaches], indent=1) + "\n"
    if not path.exists() or path.read_text() != text:
        atomic.write(path, text, mode=0o600)


def known(name: str, endpoint: str = CONTROL) -> Reach:
    """Read what was kept of a host, without its host file.

    Raises
    ------
    HostError
        If nothing was kept yet.
    """
    path = folder() / f"{name}.json"
    try:
        control, transfer = (
            Reach(**{**fields, "nodes": tuple(fields["nodes"])}) for fields in json.loads(path.read_text())
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HostError(
            f"nothing is known of how to reach {name}", f"Run: ml-suite hosts login {name}"
        ) from error
    return transfer if endpoint == TRANSFER else control
