"""The resolved deployment: everything a job needs to know, written by ``deploy`` and read on the hosts.

It holds no secret: services and their credentials are in the connections file (mode 0600) that it names.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ml_suite.config.deployment import Deployment
from ml_suite.errors import ConfigError


class GitSource(BaseModel):
    """A file and the commit that it was taken from."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative to the repository's root, or absolute outside a repository."""
    sha256: str
    """Of the file's bytes, hexadecimal."""
    commit: str | None = None
    """Last commit that touched the file; None outside a repository."""
    blob: str | None = None
    """Git's object id of the bytes; `git cat-file -p BLOB` prints them."""
    dirty: bool = False
    """The bytes differ from that commit."""
    remote: str | None = None
    """URL of the repository's origin."""


class HostPaths(BaseModel):
    """Where a host keeps the suite's things, all absolute."""

    model_config = ConfigDict(frozen=True)

    work: Path
    environment: Path
    """Virtual environment whose python runs the jobs."""
    software: Path | None = None
    """File on the machine of the deploy that the environment is made from: requirements or an image."""
    remote: bool = False
    """Jobs go to a scheduler on another machine; these are folders of that machine."""
    spool: Path | None = None
    """Where jobs leave their child commands; None: they reach the ecFlow server themselves."""


class Resolved(BaseModel):
    """A deployment with its places looked up."""

    model_config = ConfigDict(frozen=True)

    deployment: Deployment
    files: Path
    """Folder of this file; `recipe` and `config` lie beside it."""
    recipe: GitSource
    config: GitSource | None
    """Training configuration of trainer anemoi."""
    hosts: dict[str, HostPaths]
    """The deployment's, and `ops` where none of those is this machine."""
    connections: Path
    """Addresses and credentials of S3, MLflow and the catalogue; mode 0600."""
    source: GitSource
    """The deployment file."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> Resolved:
        """Read it; without a path from the one that ML_SUITE_RESOLVED names.

        Raises
        ------
        ConfigError
            If the file is missing or was written by another version.
        """
        where = path or os.environ.get("ML_SUITE_RESOLVED")
        if not where:
            raise ConfigError("ML_SUITE_RESOLVED is not set", "Run jobs from the suite, or export its path.")
        try:
            read = cls.model_validate_json(Path(where).read_bytes())
            moved = read.model_copy(update={"files": Path(where).absolute().parent})
            # a host has its own copy of this file and of those beside it
            return moved if moved.recipe_file.exists() else read
        except (OSError, ValueError) as error:
            message = f"{where} is not a resolved deployment: {error}"
            raise ConfigError(message, "Run: ml-suite deploy") from error

    @property
    def ops(self) -> str:
        """Host whose jobs run beside the ecFlow server: what talks to services and what ends a study runs there."""
        return next(name for name, paths in self.hosts.items() if not paths.remote)

    @property
    def remote(self) -> list[str]:
        """Hosts of the deployment that are other machines."""
        return [name for name in self.deployment.hosts if self.hosts[name].remote]

    @property
    def builder(self) -> str:
        """Host that builds the dataset."""
        return self.deployment.dataset.host or self.ops

    @property
    def recipe_file(self) -> Path:
        """The recipe as deployed."""
        return self.files / "recipe" / f"{self.deployment.dataset_name}.yaml"

    @property
    def training_folder(self) -> Path:
        """The training configuration and the files that go with the suite, as deployed."""
        return self.files / "training"

    @property
    def config_file(self) -> Path | None:
        """The training configuration as deployed."""
        return self.training_folder / Path(self.config.path).name if self.config else None
