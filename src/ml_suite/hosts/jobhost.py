"""What the command that ecFlow calls per job knows of the hosts of a suite: ``hosts.json``, written by deploy.

Standard library only: it is read for every job that ecFlow submits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import ConfigError


@dataclass(frozen=True)
class Ask:
    """What a kind of job asks of the scheduler; operators change it by variables of the task."""

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    walltime: str = "1h"
    """In all: above LONGEST it becomes a chain."""
    longest: str = ""
    """Walltime that the queue gives; empty: no limit."""
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    exclusive: bool = False


@dataclass(frozen=True)
class JobHost:
    """One remote host, as a suite uses it; folders are the host's unless they end in ``_here``."""

    work: Path
    python: Path
    library: Path
    """Folder that holds the package, named by its content."""
    library_here: Path
    files: Path
    """Folder with the deployed files, named by their content."""
    files_here: Path
    files_names: tuple[str, ...]
    """Files below FILES_HERE that go there."""
    spool: Path | None = None
    """Where jobs leave child commands; None: they reach the ecFlow server."""
    server: str | None = None
    """Name of the ecFlow server as the host's jobs reach it."""
    port: int | None = None
    """None: the job's own ECF_PORT."""
    gpu_request: str = "gpus-per-node"
    resources: Mapping[str, Ask] = field(default_factory=dict)
    """By kind of job: shard, candidate, train."""
    limit: int = 0
    """Most jobs of the suite there at once; 0: no limit."""
    budget: float | None = None
    """GPU-hours that the suite may use there; None: any."""
    needs: tuple[str, ...] = ()
    """Files below the working folder beside the server that say that what jobs read has arrived there."""


@dataclass(frozen=True)
class JobHosts:
    """The remote hosts of one suite."""

    home: Path
    """ML_SUITE_HOME of the machine beside the ecFlow server."""
    suite: str
    work: Path
    """Working folder of that machine, where the inputs of jobs are read."""
    hosts: Mapping[str, JobHost] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Content of the file."""
        return json.dumps(asdict(self), indent=1, default=str) + "\n"

    def save(self, path: Path) -> None:
        """Write it atomically, readable for its owner only."""
        atomic.write(path, self.text, mode=0o600)

    def host(self, name: str) -> JobHost:
        """Facts of one host.

        Raises
        ------
        ConfigError
            If the suite was deployed without it.
        """
        if name not in self.hosts:
            known = ", ".join(self.hosts) or "none"
            raise ConfigError(
                f"suite {self.suite} knows no host '{name}'",
                f"It knows {known}; add it to the deployment and run: ml-suite deploy",
            )
        return self.hosts[name]


def load(path: Path) -> JobHosts:
    """Read what `JobHosts.save` wrote.

    Raises
    ------
    ConfigError
        If it is missing or of another version.
    """
    try:
        fields = json.loads(path.read_text())
        hosts = {name: _host(host) for name, host in fields.pop("hosts").items()}
        return JobHosts(Path(fields["home"]), fields["suite"], Path(fields["work"]), hosts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path} does not say how to reach the hosts: {error}", "Run: ml-suite deploy"
        ) from error


def _host(fields: dict[str, Any]) -> JobHost:
    resources = {kind: Ask(**asked) for kind, asked in fields["resources"].items()}
    paths = {name: Path(fields[name]) for name in _PATHS}
    spool = Path(fields["spool"]) if fields["spool"] else None
    lists = {name: tuple(fields[name]) for name in ("files_names", "needs")}
    return JobHost(**{**fields, **paths, **lists, "spool": spool, "resources": resources})


_PATHS = ("work", "python", "library", "library_here", "files", "files_here")
