"""Truth and prediction of the test samples, counted in hexagons."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_suite.errors import StudyError
from ml_suite.report.model import Prediction
from ml_suite.study.arrays import Arrays

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

ACROSS = 40
"""Hexagons side by side."""


def predictions(folder: Path, names: list[str]) -> list[Prediction]:
    """Read what was predicted, one entry for each model and output.

    ``predictions.npz`` is of the winner, ``predictions-NAME.npz`` of another model or of a scheme that it is compared
    with. A file holds, for each output, `counts` [outputs, bins, bins] of pairs in square bins, the first axis the
    truth, `edges` [outputs, bins + 1], `mse` and `r2` [outputs], and the number of `samples`.

    Raises
    ------
    StudyError
        If a file holds something else.
    """
    found = []
    for path in sorted(folder.glob("predictions*.npz"), key=lambda p: p.stem):
        model = path.stem.removeprefix("predictions").lstrip("-") or "winner"
        found += _read(path, model, names)
    return found


def outputs(arrays: Arrays) -> list[str]:
    """Names of the outputs: of the data, where they are told and can still be read, else numbers."""
    import numpy as np

    count = arrays.shape[1]
    plain = [f"output {i}" for i in range(1, count + 1)]
    try:
        with np.load(arrays.path, allow_pickle=False) as file:
            names = [str(n) for n in file[f"{arrays.targets}_names"]]
    except (OSError, KeyError, ValueError):
        return plain
    return names if len(names) == count else plain


def _read(path: Path, model: str, names: list[str]) -> list[Prediction]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            counts, edges = file["counts"], file["edges"]
            mse, r2, samples = file["mse"], file["r2"], int(file["samples"])
    except (ValueError, KeyError, OSError) as error:
        raise StudyError(
            f"{path} does not hold counts of truth and prediction", "Remove it; the next run makes it again."
        ) from error
    return [
        hexagons(model, name, counts[i], edges[i], samples, float(mse[i]), float(r2[i]))
        for i, name in enumerate(names[: len(counts)])
    ]


def hexagons(
    model: str, output: str, counts: Array, edges: Array, samples: int, mse: float, r2: float
) -> Prediction:
    """Gather square bins in hexagons, `ACROSS` of them side by side.

    Parameters
    ----------
    counts
        [truth, prediction].
    edges
        Of the bins on both axes, in the unit of the output.
    """
    import numpy as np

    middles = (edges[:-1] + edges[1:]) / 2
    low = float(edges[0])
    width = (float(edges[-1]) - low) / ACROSS
    i, j = np.nonzero(counts)
    x, y, found = _hexagons(middles[i] - low, middles[j] - low, counts[i, j], width)
    return Prediction(
        model=model,
        output=output,
        truth=[float(f"{v:.6g}") for v in x + low],
        predicted=[float(f"{v:.6g}") for v in y + low],
        counts=[int(n) for n in found],
        width=width,
        height=width * 2 / 3**0.5,
        samples=samples,
        mse=mse,
        r2=r2 if math.isfinite(r2) else None,
    )


def _hexagons(x: Array, y: Array, counts: Array, width: float) -> tuple[Array, Array, Any]:
    """Centres and counts of the hexagons that are not empty; of two lattices each point takes the nearer centre."""
    import numpy as np

    step = width * 3**0.5  # between rows of one lattice
    first = np.stack([np.round(x / width) * width, np.round(y / step) * step])
    second = np.stack([(np.floor(x / width) + 0.5) * width, (np.floor(y / step) + 0.5) * step])
    points = np.stack([x, y])
    nearer = ((points - first) ** 2).sum(0) <= ((points - second) ** 2).sum(0)
    centres = np.round(np.where(nearer, first, second) / (width / 2)).astype(np.int64)
    # rows of the second lattice lie half a step between those of the first
    rows = np.round(np.where(nearer, first[1], second[1]) / (step / 2)).astype(np.int64)
    keys, place = np.unique(np.stack([centres[0], rows]), axis=1, return_inverse=True)
    found = np.zeros(keys.shape[1], dtype=np.int64)
    np.add.at(found, place.ravel(), counts.astype(np.int64))
    return keys[0] * width / 2, keys[1] * step / 2, found
