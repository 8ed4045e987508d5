"""Where an environment lies on its host: below a name made from everything that it is made of.

Known before the host is asked anything, so that a deploy can say which python runs the jobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite import atomic
from ml_suite.config.locate import candidates, locate
from ml_suite.errors import ConfigError
from ml_suite.home import cache
from ml_suite.software import lock

if TYPE_CHECKING:
    from ml_suite.config.deployment import Software

_MAKING = 1
"""Counted up when environments are made in another way, so that they are made anew."""


def environment_path(work: Path, software: Software, architecture: str, beside: Path) -> Path:
    """Folder of the environment on its host, ``WORK/env/DIGEST``; ``bin/python`` below it runs the jobs.

    Parameters
    ----------
    work
        Work folder on the host.
    architecture
        Of the host, as ``uname -m`` says.
    beside
        Folder of the deployment; the files that SOFTWARE names are looked up as everywhere.

    Raises
    ------
    ConfigError
        If the file is missing or cannot be used.
    """
    return work / "env" / digest(software, architecture, source(software, beside))


def source(software: Software, beside: Path) -> Path:
    """Find the requirements file or image.

    Raises
    ------
    ConfigError
        If it is nowhere.
    """
    text = software.wheelhouse or software.image or ""
    found = locate(text, beside)
    if found is None or not found.is_file():
        looked = "\n  ".join(str(path) for path in candidates(text, beside))
        kind = "wheelhouse" if software.wheelhouse else "image"
        raise ConfigError(f"software.{kind}: there is no file {text}", f"looked for:\n  {looked}")
    return found


def deployed_name(host: str) -> str:
    """Name of the copy of a host's requirements file among the deployed files.

    >>> deployed_name("big")
    'software/big.txt'
    """
    return f"software/{host}.txt"


def digest(software: Software, architecture: str, file: Path) -> str:
    """Sixteen hexadecimal digits that stand for the environment.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    if software.wheelhouse:
        made = [read(file).canonical, software.python, architecture, software.interpreter or ""]
    else:
        made = [image_digest(file), software.runtime or "", *software.options]
    return hashlib.sha256(json.dumps([_MAKING, *made]).encode()).hexdigest()[:16]


def read(file: Path) -> lock.Lock:
    """Read a requirements file.

    Raises
    ------
    ConfigError
        If it is no text, or lists something else than packages with their versions.
    """
    try:
        return lock.parse(file.read_text(), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", "Name a requirements file.") from error


def image_digest(file: Path) -> str:
    """Sha256 of an image, hexadecimal: computed once, and again when its size or time changes.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        found = file.stat()
        state = [str(file), found.st_size, found.st_mtime_ns, found.st_ino]
        known = cache() / "images" / (hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32])
        if known.is_file() and len(text := known.read_text().strip()) == 64:
            return text
        with file.open("rb") as f:
            value = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "Name an Apptainer image.") from error
    with contextlib.suppress(OSError):
        atomic.write(known, value + "\n")
    return value
