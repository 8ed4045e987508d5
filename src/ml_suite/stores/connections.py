"""Addresses and credentials of the services: one JSON file, mode 0600, never copied into a suite.

``ml-suite services up`` writes it for the embedded servers; for others a person writes the same file.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from ml_suite import atomic
from ml_suite.errors import ConfigError, CredentialNeeded


class S3(BaseModel):
    """An S3 service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    region: str = "us-east-1"
    access_key_id: str
    secret_access_key: SecretStr


class Mlflow(BaseModel):
    """An MLflow tracking server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    token: SecretStr | None = None


class Catalogue(BaseModel):
    """An Anemoi catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    token: SecretStr


class Connections(BaseModel):
    """All services of a deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3: S3
    mlflow: Mlflow
    catalogue: Catalogue

    @classmethod
    def load(cls, path: Path) -> Connections:
        """Read the file.

        Raises
        ------
        CredentialNeeded
            If it is missing, or readable by others.
        ConfigError
            If it cannot be parsed.
        """
        try:
            mode = path.stat().st_mode
            text = path.read_text()
        except OSError as error:
            raise CredentialNeeded(f"{path}: {error.strerror}", "Run: ml-suite services up") from error
        if mode & 0o077:
            raise CredentialNeeded(f"{path} can be read by others", f"Run: chmod 600 {path}")
        try:
            return cls.model_validate_json(text)
        except ValueError as error:
            raise ConfigError(
                f"{path} is not a connections file", "It needs s3, mlflow and catalogue."
            ) from error

    def save(self, path: Path) -> None:
        """Write the file atomically with mode 0600."""
        plain = {
            "s3": {**self.s3.model_dump(), "secret_access_key": self.s3.secret_access_key.get_secret_value()},
            "mlflow": {
                "url": self.mlflow.url,
                "token": self.mlflow.token.get_secret_value() if self.mlflow.token else None,
            },
            "catalogue": {"url": self.catalogue.url, "token": self.catalogue.token.get_secret_value()},
        }
        atomic.write(path, json.dumps(plain, indent=1) + "\n", mode=0o600)
