"""Prepare a host's software as its deployment says: nothing, wheels or an image."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path, PurePath

from ml_suite.config.deployment import Software
from ml_suite.errors import ConfigError
from ml_suite.software import image, install, place
from ml_suite.software.patience import Line

_ARCHITECTURES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Prepared:
    """An environment that is there."""

    fresh: bool
    """It was made now."""
    notes: tuple[str, ...] = ()
    """What its packages miss, as pip says."""


def prepare(
    line: Line, software: Software | None, file: Path | None, environment: PurePath, home: Path
) -> Prepared:
    """Make sure that the environment is at the host; one round trip when it is.

    Parameters
    ----------
    software
        None: the environment exists already, and nothing is done.
    file
        Requirements or image on this machine.
    environment
        Folder at the host, as it was deployed.
    home
        ML_SUITE_HOME of this machine.

    Raises
    ------
    ConfigError
        If the file is not the one that was deployed.
    HostError
        If the software cannot be had, sent or installed.
    MlSuiteError
        As `channel.run`, when patience is at its end.
    """
    if software is None or file is None:
        return Prepared(fresh=False)
    architecture = _deployed_for(software, file, environment)
    if software.image:
        digest = place.image_digest(file)
        made = image.Image(environment, file, digest, tuple(software.options), software.runtime)
        return Prepared(image.ensure(line, made))
    wanted = install.Wanted(environment, place.read(file), software.python, software.interpreter)
    found = install.ensure(line, wanted, home, architecture)
    return Prepared(found.fresh, found.seen.notes)


def _deployed_for(software: Software, file: Path, environment: PurePath) -> str:
    """Architecture for which the environment has its name."""
    for architecture in dict.fromkeys([*_ARCHITECTURES, platform.machine()]):
        if place.digest(software, architecture, file) == environment.name:
            return architecture
    raise ConfigError(f"{file} has changed since the suite was deployed", "Run: ml-suite deploy")
