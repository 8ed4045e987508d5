"""Ask a program of the training environment from the light one, which has neither zarr nor torch."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ml_suite.errors import ConfigError, DatasetError, MlSuiteError
from ml_suite.home import cache


def find_python(chosen: Path | None = None) -> Path:
    """Python of the training environment: CHOSEN, else ML_SUITE_ENVIRONMENT, else the one in the cache.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    folder = chosen or Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")
    python = folder.expanduser().absolute() / "bin" / "python"
    if not python.exists():
        raise ConfigError(
            f"there is no training environment at {folder}",
            "Build it with: bash ci/environment.sh, or name one with --environment or ML_SUITE_ENVIRONMENT.",
        )
    return python


def ask(python: Path, library: Path, module: str, arguments: Sequence[str]) -> str:
    """Run MODULE, which answers with one JSON document, and return the document.

    Parameters
    ----------
    library
        Folder that holds this package and nothing else that could hide the environment's own packages.

    Raises
    ------
    DatasetError
        With the program's own message, or with the end of its output when it has none.
    """
    environment = {**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [python, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0 and done.stdout:
        return done.stdout
    raise _told(done.stdout) or DatasetError(
        f"{module} ended with code {done.returncode}: {_last_line(done.stderr)}",
        f"Is the environment complete? Try: {python} -m {module} --help",
    )


def _told(text: str) -> MlSuiteError | None:
    try:
        error = json.loads(text)["error"]
        return DatasetError(error["message"], error["hint"])
    except (ValueError, KeyError, TypeError):
        return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"
