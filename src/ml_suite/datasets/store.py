"""How far a dataset on disk is: absent, being loaded, being closed, finished.

anemoi-datasets keeps the group ``_build`` with one flag per group of dates and the attribute ``_recipe`` until the
dataset is finished. Finishing removes ``_build`` first and ``_recipe`` last, so the two tell where a kill struck.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ml_suite.errors import DatasetError

STATISTICS = ("mean", "stdev", "minimum", "maximum")
"""Arrays that finalise adds."""


class Phase(StrEnum):
    """How far a dataset is."""

    ABSENT = "absent"
    LOADING = "loading"
    """Laid out; some or all groups of dates are loaded."""
    CLOSING = "closing"
    """Laid out, without flags: finalise was stopped in its clean-up, or another program's init was stopped."""
    FINISHED = "finished"
    BROKEN = "broken"
    """A zarr store that is none of these."""


@dataclass(frozen=True)
class Progress:
    """State of one store."""

    path: Path
    phase: Phase
    uuid: str | None = None
    loaded: tuple[bool, ...] = ()
    """One flag per group of dates while loading."""

    @property
    def missing(self) -> list[int]:
        """Groups that are not loaded."""
        return [group for group, done in enumerate(self.loaded) if not done]

    @property
    def percent(self) -> int:
        """Groups loaded, rounded down: 100 means all."""
        if self.phase is Phase.FINISHED:
            return 100
        return 100 * sum(self.loaded) // len(self.loaded) if self.loaded else 0


def open_group(path: Path, mode: str = "r") -> Any:
    """Open a store as a zarr group.

    Raises
    ------
    DatasetError
        If there is none.
    """
    import zarr

    if not path.exists():
        raise DatasetError(f"{path} does not exist", "Give the path of a .zarr folder.")
    if not path.is_dir() or not any((path / name).exists() for name in (".zgroup", "zarr.json")):
        raise DatasetError(f"{path} is not a zarr store", "Give the path of the .zarr folder itself.")
    try:
        return zarr.open_group(str(path), mode=mode)
    except Exception as error:  # zarr 2 and 3 differ in what they raise
        raise DatasetError(f"{path} is not a zarr group: {error}") from error


def progress(path: Path) -> Progress:
    """Look how far the dataset at PATH is.

    Raises
    ------
    DatasetError
        If PATH exists and is not a zarr group.
    """
    if not path.exists():
        return Progress(path, Phase.ABSENT)
    group = open_group(path)
    attributes = dict(group.attrs)
    uuid = attributes.get("uuid")
    flags = read_flags(group)
    if "data" not in group or uuid is None:
        return Progress(path, Phase.BROKEN, uuid)
    if "_recipe" in attributes:
        return Progress(path, Phase.LOADING if flags else Phase.CLOSING, uuid, flags)
    measured = all(name in group for name in STATISTICS)
    return Progress(path, Phase.FINISHED if measured else Phase.BROKEN, uuid)


def read_flags(group: Any) -> tuple[bool, ...]:
    """Flags of the groups of dates of an open store; empty when there are none."""
    if "_build" not in group or "flags" not in group["_build"]:
        return ()
    return tuple(bool(flag) for flag in group["_build"]["flags"][:])


def require_finished(path: Path) -> Progress:
    """Return the progress of a finished dataset.

    Raises
    ------
    DatasetError
        If it is not finished; the message says how far it is.
    """
    state = progress(path)
    if state.phase is Phase.FINISHED:
        return state
    if state.phase is Phase.ABSENT:
        raise DatasetError(f"{path} does not exist", "Give the path of a finished .zarr folder.")
    if state.phase is Phase.LOADING:
        raise DatasetError(
            f"{path} is not finished: {state.percent}% of its groups are loaded",
            "Run the load tasks that are left, then finalise.",
        )
    if state.phase is Phase.CLOSING:
        raise DatasetError(
            f"{path} is not finished: its finalise or its init was stopped", "Run that step again."
        )
    raise DatasetError(f"{path} is not a dataset made by anemoi-datasets")
