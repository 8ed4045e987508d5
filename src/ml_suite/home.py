"""The folder of the embedded services and deployed suites."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """ML_SUITE_HOME, else ``~/.local/share/ml-suite`` (or below XDG_DATA_HOME)."""
    if chosen := os.environ.get("ML_SUITE_HOME"):
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "ml-suite"


def cache() -> Path:
    """``~/.cache/ml-suite`` (or below XDG_CACHE_HOME): environments and downloaded sources."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ml-suite"
