"""Look up the places and origins that a deployment leaves open."""

from __future__ import annotations

import platform
from pathlib import Path

from ml_suite.config import git
from ml_suite.config.deployment import Deployment, Use
from ml_suite.config.locate import candidates, locate
from ml_suite.config.resolved import HostPaths, Resolved
from ml_suite.errors import ConfigError
from ml_suite.hosts import host as hosts
from ml_suite.software.place import environment_path, source

OPS = "local"
"""Host file of the machine beside the ecFlow server."""


def resolve(deployment: Deployment, deployment_path: Path, files: Path, connections: Path) -> Resolved:
    """Return the deployment with its folders, its files' origins and the place of the credentials.

    Parameters
    ----------
    deployment_path
        The deployment file; relative names are looked up beside it, in the current folder and in the package.
    files
        Folder that the deployed files go to.
    connections
        Addresses and credentials of the services.

    Raises
    ------
    ConfigError
        If a file or a host is not there.
    """
    beside = deployment_path.absolute().parent
    config = deployment.training.config
    found = {name: paths(name, use, deployment, beside) for name, use in deployment.hosts.items()}
    if all(host.remote for host in found.values()):
        found[OPS] = paths(OPS, Use(), deployment, beside)
    return Resolved(
        deployment=deployment,
        files=files.absolute(),
        recipe=git.facts(needed(deployment.dataset.recipe, beside, "dataset.recipe")),
        config=git.facts(needed(config, beside, "training.config")) if config else None,
        hosts=found,
        connections=connections.absolute(),
        source=git.facts(deployment_path),
    )


def paths(name: str, use: Use, deployment: Deployment, beside: Path) -> HostPaths:
    """Folders of the deployment on a host: its own words go before the host file's.

    Raises
    ------
    ConfigError
        If the host has no file, or a path needs an account.
    """
    host = hosts.load(name, beside)
    work = use.work or host.paths.work
    environment = use.environment or deployment.training.environment or host.paths.environment
    folder = _absolute(host.place(work, use.account, use.user), beside)
    installed = use.software
    if installed and host.here:
        raise ConfigError(
            f"hosts.{name}.software: nothing is installed on this machine",
            "Name an environment that is there: `environment:`.",
        )
    return HostPaths(
        work=folder,
        environment=environment_path(folder, installed, host.architecture or platform.machine(), beside)
        if installed
        else _absolute(host.place(environment, use.account, use.user), beside),
        software=source(installed, beside) if installed else None,
        remote=not host.here,
        spool=folder / "spool" if host.callback == "spool" else None,
    )


def needed(text: str, beside: Path, key: str) -> Path:
    """Find a file that the deployment names under KEY.

    Raises
    ------
    ConfigError
        If it is nowhere.
    """
    found = locate(text, beside)
    if found is None or not found.is_file():
        looked = "\n  ".join(str(path) for path in candidates(text, beside))
        raise ConfigError(f"{key}: there is no file {text}", f"looked for:\n  {looked}")
    return found


def _absolute(path: Path, beside: Path) -> Path:
    return path if path.is_absolute() else beside / path
