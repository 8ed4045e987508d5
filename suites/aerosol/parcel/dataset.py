"""The data set: one NumPy file (.npz), computed block by block and put in its place whole.

The arrays grow on disk, not in memory, in a folder beside the file that bears the number of the process; it is taken
away at the end, and by the next process to start when this one was killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from parcel.arg2000 import arg2000
from parcel.labels import activated_fractions
from parcel.model import ascents
from parcel.sampling import INPUTS, MODES, TARGETS, Members, blocks

VERSION = 2
"""Of the data: raised when the same recipe would give other numbers."""


@dataclass(frozen=True)
class Recipe:
    """What a data set is made from; the same recipe gives the same bytes, with any number of threads."""

    samples: int
    bins: int = 128
    rtol: float = 1e-4
    seed: int = 11
    window: float = 1000.0
    """Ascent above the condensation level, m."""
    keep_all: bool = False
    """Keep the members that have no maximum of supersaturation in the window, about one in a hundred."""

    def describe(self, drawn: int) -> str:
        """As JSON, with the ranges of the modes and how many were drawn; stored in the file as `metadata`."""
        text = "Activated fractions of a cloud parcel model; see docs/aerosol.md of ml-suite."
        modes = [asdict(mode) for mode in MODES]
        return json.dumps({"title": text, "version": VERSION, **asdict(self), "drawn": drawn, "modes": modes})


@dataclass
class Arrays:
    """Of the data set, [samples] and [samples, 16 or 4]."""

    x: np.ndarray
    y: np.ndarray
    arg: np.ndarray
    """Activated fractions of the baseline."""
    smax: np.ndarray
    """Maximum supersaturation, dimensionless."""
    arg_smax: np.ndarray
    status: np.ndarray
    """0: a maximum was found; 1: none up to the top of the window, and the highest supersaturation is taken."""
    draw: np.ndarray
    """Number of the point in the Sobol sequence."""

    def only(self, which: np.ndarray) -> Arrays:
        """Some of the samples."""
        return Arrays(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def _block(inputs: np.ndarray, start: int, recipe: Recipe) -> Arrays:
    members = Members.of(inputs)
    outcome = ascents(members, recipe.bins, recipe.rtol, recipe.window)
    y = activated_fractions(outcome.supersaturation, outcome.temperature, members.radius, members.kappa)
    failed = int(np.sum(outcome.status > 1) + np.sum(~np.isfinite(y)))
    if failed:
        raise ValueError(f"{failed} ascents of points {start} to {start + len(inputs)} did not end well")
    baseline, fractions = arg2000(members)
    block = Arrays(
        x=inputs,
        y=y,
        arg=fractions,
        smax=outcome.supersaturation,
        arg_smax=baseline,
        status=outcome.status,
        draw=np.arange(start, start + len(inputs)),
    )
    return block if recipe.keep_all else block.only(outcome.status == 0)


def _open(folder: Path, samples: int) -> Arrays:
    def array(name: str, width: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(samples, *width)
        )

    inputs, targets = (len(INPUTS),), (len(TARGETS),)
    return Arrays(
        x=array("x", inputs, np.float32),
        y=array("y", targets, np.float32),
        arg=array("arg", targets, np.float32),
        smax=array("smax", (), np.float32),
        arg_smax=array("arg_smax", (), np.float32),
        status=array("status", (), np.int8),
        draw=array("draw", (), np.int64),
    )


def _sweep(path: Path) -> None:
    """Take away what killed processes left beside PATH."""
    for left in path.parent.glob(f".{path.name}.*"):
        match = re.fullmatch(re.escape(f".{path.name}.") + r"(\d+)", left.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _pack(folder: Path, archive: Path) -> None:
    """Put the arrays of FOLDER in one file; members are dated 1980, so that the same arrays give the same bytes."""
    with archive.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as pack:
            for array in sorted(folder.glob("*.npy")):
                with (
                    array.open("rb") as source,
                    pack.open(zipfile.ZipInfo(array.name), "w", force_zip64=True) as to,
                ):
                    shutil.copyfileobj(source, to, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def _fill(arrays: Arrays, recipe: Recipe, progress: Callable[[int], None]) -> int:
    """Compute all samples into ARRAYS; returns the number of points that were drawn."""
    done, start = 0, 0
    sequence = blocks(recipe.seed)
    while done < recipe.samples:
        inputs = next(sequence)
        block = _block(inputs, start, recipe)
        some = min(len(block.x), recipe.samples - done)
        for field in fields(arrays):
            getattr(arrays, field.name)[done : done + some] = getattr(block, field.name)[:some]
        done, start = done + some, start + len(inputs)
        progress(done)
    for field in fields(arrays):
        getattr(arrays, field.name).flush()
    return int(arrays.draw[-1]) + 1


def make(path: Path, recipe: Recipe, progress: Callable[[int], None] | None = None) -> None:
    """Compute the data set and put it at PATH.

    Parameters
    ----------
    progress
        Called with the number of samples that are done.

    Raises
    ------
    OSError
        As the file system says; what was at PATH before is untouched.
    ValueError
        The bins cannot be shared by the modes, or an ascent did not end well: nothing is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    folder = path.parent / f".{path.name}.{os.getpid()}"
    folder.mkdir()
    try:
        drawn = _fill(_open(folder, recipe.samples), recipe, progress or (lambda done: None))
        for name, value in (("x_names", INPUTS), ("y_names", TARGETS), ("metadata", recipe.describe(drawn))):
            np.save(folder / f"{name}.npy", np.array(value))
        archive = folder / "archive"
        _pack(folder, archive)
        archive.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
