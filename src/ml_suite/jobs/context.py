"""What a job knows of itself: the resolved deployment, its host and its cycle."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import Resolved
from ml_suite.errors import ConfigError
from ml_suite.hosts import jobhost
from ml_suite.layout import ONCE, WorkTree
from ml_suite.stores.connections import Connections


@dataclass(frozen=True)
class Job:
    """One run of a task on a host."""

    resolved: Resolved
    host: str
    cycle: str = ONCE

    @classmethod
    def from_environment(cls) -> Job:
        """Read ML_SUITE_RESOLVED, ML_SUITE_HOST and ML_SUITE_CYCLE, which the job script exports.

        Raises
        ------
        ConfigError
            If the host is not one of the deployment's.
        """
        resolved = Resolved.load()
        host = os.environ.get("ML_SUITE_HOST") or resolved.ops
        if host not in resolved.hosts:
            raise ConfigError(
                f"host {host!r} is not in the deployment", f"It has {', '.join(resolved.hosts)}."
            )
        return cls(resolved, host, os.environ.get("ML_SUITE_CYCLE") or ONCE)

    @property
    def deployment(self) -> Deployment:
        """The deployment."""
        return self.resolved.deployment

    @property
    def tree(self) -> WorkTree:
        """Folders of the suite on this host."""
        return WorkTree.of(self.resolved, self.host, self.cycle)

    @property
    def environment(self) -> Path:
        """Virtual environment of this host."""
        return self.resolved.hosts[self.host].environment

    def use_home(self) -> None:
        """Find open connections where deploy keeps them, whatever the environment of the job says."""
        # a suite without other machines was deployed before there was such a file
        with suppress(ConfigError):
            os.environ["ML_SUITE_HOME"] = str(jobhost.load(self.resolved.files / "hosts.json").home)

    def connections(self) -> Connections:
        """Addresses and credentials of the services."""
        return Connections.load(self.resolved.connections)
