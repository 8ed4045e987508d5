"""Which commit a file was taken from."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from ml_suite.config.resolved import GitSource


def facts(path: Path) -> GitSource:
    """Identify a file by its bytes and, in a repository, by its commit.

    Without git, outside a repository, or in one that git does not trust, only the bytes are known.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    path = path.resolve()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    root = _git(path.parent, "rev-parse", "--show-toplevel")
    if not root:
        return GitSource(path=str(path), sha256=sha256)
    relative = path.relative_to(root).as_posix()
    commit = _git(path.parent, "log", "-1", "--format=%H", "--", path.name) or None
    blob = _git(path.parent, "hash-object", "--", path.name) or None
    committed = (
        _git(path.parent, "rev-parse", "--verify", "--quiet", f"{commit}:{relative}") if commit else None
    )
    remote = _git(path.parent, "config", "--get", "remote.origin.url")
    return GitSource(
        path=relative,
        sha256=sha256,
        commit=commit,
        blob=blob,
        dirty=blob != committed,
        remote=without_credentials(remote) if remote else None,
    )


def without_credentials(url: str) -> str:
    """URL of a repository without user, password or token.

    >>> without_credentials("https://me:t0ken@example.int/models.git?private_token=x")
    'https://example.int/models.git'
    >>> without_credentials("git@example.int:models.git")
    'git@example.int:models.git'
    """
    if "://" not in url:
        return url
    return re.sub(r"^(\w[\w+.-]*://)[^/@]*@", r"\1", url).split("?", 1)[0]


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command; empty when it fails or takes too long."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
