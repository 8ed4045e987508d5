"""Generated credentials of the embedded services: one file, mode 0600, written once and kept."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from ml_suite import atomic
from ml_suite.errors import ConfigError, CredentialNeeded


@dataclass(frozen=True)
class Secrets:
    """What the embedded services and their clients share."""

    s3_access_key_id: str
    s3_secret_access_key: str = field(repr=False)
    ecflow_password: str = field(repr=False)
    catalogue_token: str = field(repr=False)

    @classmethod
    def keep(cls, path: Path) -> Self:
        """Read the file, or make it.

        Raises
        ------
        CredentialNeeded
            If others can read it.
        ConfigError
            If it is damaged.
        """
        if not path.exists():
            made = cls(
                s3_access_key_id="mlsuite" + secrets.token_hex(6),
                s3_secret_access_key=secrets.token_hex(24),
                ecflow_password=secrets.token_hex(16),
                catalogue_token=secrets.token_hex(24),
            )
            atomic.write(path, json.dumps(asdict(made), indent=1) + "\n", mode=0o600)
            return made
        if path.stat().st_mode & 0o077:
            raise CredentialNeeded(f"{path} can be read by others", f"Run: chmod 600 {path}")
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            hint = "Restore it; without it the stored data cannot be reached under its old credentials."
            raise ConfigError(f"{path} is damaged", hint) from error
