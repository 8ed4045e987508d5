"""A machine as data: the facts of ``hosts/NAME.yaml``.

Code asks for a capability such as ``host.callback``, never for a name. A file in ``hosts/`` beside the deployment
and one of the user in ``~/.config/ml-suite/hosts`` change what they name of the package's, in this order; a name
that the package does not know is a new machine.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ml_suite.config import locate
from ml_suite.config.values import Name, Strict
from ml_suite.errors import ConfigError
from ml_suite.home import cache, home
from ml_suite.hosts.facts import Auth, Connections, Count, Endpoint, Internet, Partition, Paths

if TYPE_CHECKING:
    from ml_suite.config.source import Source


class Host(Strict):
    """The facts of one machine."""

    title: str
    auth: Auth
    callback: Literal["direct", "spool"]
    """Jobs reach the ecFlow server, or leave files for a relay."""
    scheduler: Literal["local", "slurm"]
    control: Endpoint | None = None
    """Where commands run and jobs are submitted; None: this machine."""
    transfer: Endpoint | None = None
    """Where files go; None: the control endpoint."""
    connections: Connections = Connections()
    internet: Internet | None = None
    """None: not known."""
    architecture: Literal["x86_64", "aarch64"] | None = None
    """None: that of this machine."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    """What the scheduler counts as a GPU; None: as many as this machine has."""
    gpu_request: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    """How a job asks for GPUs."""
    cores_per_node: Count | None = None
    """Physical cores, which are billed."""
    usable_cores: Count | None = None
    """Cores of a node that jobs may use; None: all."""
    cpus_per_gpu: Count | None = None
    """Cores that a job must take with each GPU; None: its share of the usable cores."""
    whole_nodes: bool = False
    """Nodes are not shared and billed whole, unless the partition says otherwise."""
    billing: Literal["none", "gpu_hours", "node_hours", "core_hours"] = "none"
    billed_per_gpu: Annotated[float, Field(gt=0)] | None = None
    """Units for one GPU and hour; None: what follows from the unit and the node."""
    partitions: Annotated[dict[str, Partition], Field(default_factory=dict)]
    """None: jobs have no longest time. The first is taken when several cost the same."""
    needs_account: bool = False
    """A job without an account is refused."""
    paths: Paths

    user: Name | None = None
    """The person's name there. This and the next three are no facts: they are for the user's own file."""
    account: Name | None = None
    partition: Name | None = None
    qos: Name | None = None

    @property
    def here(self) -> bool:
        """Jobs run on this very machine."""
        return self.scheduler == "local"

    def place(self, template: str, account: str | None, user: str | None = None) -> Path:
        """Fill the placeholders of a path.

        Parameters
        ----------
        account, user
            The deployment's; without them those of the user's own host file.

        Raises
        ------
        ConfigError
            If the path holds {account} or {user} and there is none, or a folder of this machine on another one.
        """
        own = {"home": str(Path.home()), "ml_suite_home": str(home()), "cache": str(cache())}
        named = {
            "account": account or self.account,
            "user": user or self.user or (getpass.getuser() if self.here else None),
        }
        for name, value in named.items():
            if f"{{{name}}}" in template and not value:
                what = "an account" if name == "account" else "a user"
                raise ConfigError(
                    f"the path {template} needs {what}",
                    f"Write `{name}:` under the host in the deployment.",
                )
        if not self.here and (wrong := [name for name in own if f"{{{name}}}" in template]):
            raise ConfigError(
                f"the path {template} holds {{{wrong[0]}}}, a folder of this machine",
                f"Write a path of {self.title}.",
            )
        values = {**own, **{name: value or "" for name, value in named.items()}}
        path = Path(template.format(**values))
        return path.expanduser() if self.here else path


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

    layers = [path for folder in folders(beside) if (path := folder / f"{name}.yaml").is_file()]
    if not layers:
        known = list(files(beside))
        near = wording.nearest(name, known)
        hint = f"did you mean '{near}'?" if near else f"known hosts: {', '.join(known)}"
        raise ConfigError(f"there is no host file for '{name}'", f"{hint}; others go into {_own(beside)}")
    read, *changes = [source.load(path) for path in reversed(layers)]
    for change in changes:
        read = _changed(read, change)
    return source.read(read, Host)


def _changed(base: Source, change: Source) -> Source:
    """BASE with the keys that CHANGE names; each value keeps the place where it was written."""
    return replace(
        change,
        data=_merged(base.data, change.data),
        keys={**base.keys, **change.keys},
        values={**base.values, **change.values},
        findings=(*base.findings, *change.findings),
    )


def _merged(base: Any, change: Any) -> Any:
    """Mappings key by key, everything else as changed."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _own(beside: Path | None) -> Path:
    return folders(beside)[0] / "NAME.yaml"


def gpus_here(devices: Iterable[Path] | None = None) -> int:
    """Count the GPUs of this machine that a job could use."""
    nodes = Path("/dev").glob("nvidia[0-9]*") if devices is None else devices
    return sum(node.name.removeprefix("nvidia").isdigit() for node in nodes)
