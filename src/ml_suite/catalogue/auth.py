"""Who may write: everybody reads, writers send the token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from ml_suite.catalogue.entries import Caller
from ml_suite.catalogue.refusal import Refusal
from ml_suite.errors import CredentialNeeded

_HEADER = "x-anemoi-registry-"
_TEXT = 200


def load(path: Path) -> str:
    """Read the token from its file.

    Raises
    ------
    CredentialNeeded
        If the file is missing, empty or readable by others.
    """
    try:
        mode, token = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialNeeded(
            f"the token file {path} cannot be read: {error}", "Give it with --token-file."
        ) from error
    if mode & 0o077:
        raise CredentialNeeded(f"the token file {path} can be read by others", f"Run: chmod 600 {path}")
    if not token:
        raise CredentialNeeded(f"the token file {path} is empty", "It holds one line, the token of writers.")
    return token


def check(authorization: str | None, token: str) -> None:
    """Let a writer pass.

    Raises
    ------
    Refusal
        401 without a token (the client without one sends ``Bearer None``), 403 with a wrong one.
    """
    given = (authorization or "").removeprefix("Bearer ").strip()
    if given in ("", "None"):
        raise Refusal(401, "writing needs a token: set ANEMOI_CONFIG_REGISTRY_API_TOKEN")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Refusal(403, "the token is not the one of this catalogue")


def caller(headers: Mapping[str, str]) -> Caller:
    """Who says to ask; for the audit log, proves nothing."""
    return Caller(*(headers.get(_HEADER + name, "")[:_TEXT] for name in ("user", "host", "pid", "version")))
