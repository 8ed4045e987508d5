"""Where the files are that a deployment names, and those that travel with the package."""

from __future__ import annotations

import os
from pathlib import Path


def shipped() -> Path:
    """Folder with ``hosts/``, ``recipes/`` and ``suites/``: package data, or the root of a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "data" if (package / "data").is_dir() else package.parents[1]


def near(path: Path) -> str:
    """Name a path as a person in the current folder would: relative below it, absolute elsewhere when shorter."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else min(relative, str(path.absolute()), key=len)


def candidates(text: str, beside: Path) -> list[Path]:
    """Places to look for a file, in order.

    Parameters
    ----------
    text
        As the deployment names it: absolute, below ``~``, or relative.
    beside
        Folder of the deployment file.
    """
    path = Path(text).expanduser()
    if path.is_absolute():
        return [path]
    return list(dict.fromkeys(root.absolute() / path for root in (beside, Path.cwd(), shipped())))


def locate(text: str, beside: Path) -> Path | None:
    """Find a file or folder beside the deployment, in the current folder or in the package, else None.

    >>> locate("hosts/local.yaml", Path("/nowhere")).name
    'local.yaml'
    """
    return next((path.resolve() for path in candidates(text, beside) if path.exists()), None)
