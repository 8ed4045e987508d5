"""A machine as data: the facts of ``hosts/NAME.yaml``.

Code asks for a capability such as ``host.callback``, never for a name. Files in ``hosts/`` beside the deployment
win over those of the user in ``~/.config/ml-suite/hosts``, and those over the ones of the package.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ml_suite.config import locate
from ml_suite.config.deployment import Duration, Strict, Template
from ml_suite.errors import ConfigError
from ml_suite.home import cache, home


class Auth(Strict):
    """How a person or a job proves who it is."""

    kind: Literal["none", "key", "certificate", "totp"]
    lifetime: Duration | None = None
    """How long one login lasts; none: it does not end."""


class Partition(Strict):
    """A queue of the scheduler."""

    max_walltime: Duration


class Paths(Strict):
    """Folders on the host; placeholders: {account} {user} {home} {ml_suite_home} {cache}."""

    work: Template
    """Where suites keep their files."""
    environment: Template
    """Virtual environment with anemoi-training."""


class Host(Strict):
    """The facts of one machine."""

    title: str
    auth: Auth
    callback: Literal["direct", "spool"]
    """Jobs reach the ecFlow server, or leave files for a relay."""
    scheduler: Literal["local", "slurm"]
    architecture: Literal["x86_64", "aarch64"] | None = None
    """None: that of this machine."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    """None: as many as this machine has."""
    billing: Literal["none", "gpu_hours", "node_hours", "core_hours"] = "none"
    partitions: Annotated[dict[str, Partition], Field(default_factory=dict)]
    """None: jobs have no longest time."""
    paths: Paths

    @property
    def here(self) -> bool:
        """Jobs run on this very machine."""
        return self.scheduler == "local"

    def place(self, template: str, account: str | None) -> Path:
        """Fill the placeholders of a path.

        Raises
        ------
        ConfigError
            If the path holds {account} and there is none.
        """
        if "{account}" in template and not account:
            raise ConfigError(
                f"the path {template} needs an account", "Write `account:` under the host in the deployment."
            )
        values = {
            "account": account or "",
            "user": getpass.getuser(),
            "home": str(Path.home()),
            "ml_suite_home": str(home()),
            "cache": str(cache()),
        }
        return Path(template.format(**values)).expanduser()


def folders(beside: Path | None = None) -> list[Path]:
    """Folders with host files, the first to win; BESIDE is the deployment's folder."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    own = [beside / "hosts"] if beside else []
    return [*own, config / "ml-suite" / "hosts", locate.shipped() / "hosts"]


def files(beside: Path | None = None) -> dict[str, Path]:
    """Every host that has a file."""
    found: dict[str, Path] = {}
    for folder in folders(beside):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def load(name: str, beside: Path | None = None) -> Host:
    """Read the facts of a host.

    Raises
    ------
    ConfigError
        If it has no file, or the file says something that cannot be.
    """
    from ml_suite.config import source, wording

    known = files(beside)
    if name not in known:
        near = wording.nearest(name, list(known))
        hint = f"did you mean '{near}'?" if near else f"known hosts: {', '.join(known)}"
        raise ConfigError(f"there is no host file for '{name}'", f"{hint}; others go into {_own(beside)}")
    return source.read(source.load(known[name]), Host)


def _own(beside: Path | None) -> Path:
    return folders(beside)[0] / "NAME.yaml"


def gpus_here(devices: Iterable[Path] | None = None) -> int:
    """Count the GPUs of this machine that a job could use."""
    nodes = Path("/dev").glob("nvidia[0-9]*") if devices is None else devices
    return sum(node.name.removeprefix("nvidia").isdigit() for node in nodes)
