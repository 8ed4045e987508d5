"""Truth against prediction of kept weights, on samples that they were not trained on.

``python -m ml_suite.trainers.mlp.predict --weights W --setup S --out predictions.npz`` writes, for each target, a
histogram of pairs (`counts` [targets, bins, bins], first axis the truth; `edges` [targets, bins + 1], the same for
both), the errors (`mse`, `r2`, `bias` [targets]), and the first pairs as they are (`truth`, `prediction`
[samples, targets]). It needs numpy alone; the arithmetic is fp32.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.trainers.mlp import data, files
from ml_suite.trainers.mlp.protocol import Setup

BINS = 200
KEPT = 2000
"""Pairs that are kept as they are."""
_CHUNK = 8192


def forward(header: dict[str, Any], arrays: dict[str, Any], x: Any) -> Any:
    """Predict.

    Parameters
    ----------
    header, arrays
        Of weights, as `files.load_weights` reads them.
    x
        Inputs [samples, inputs] in their own units.

    Returns
    -------
    numpy.ndarray
        [samples, outputs], float32.
    """
    import numpy as np

    x = np.asarray(x, dtype=np.float32)
    return np.concatenate(
        [_some(header, arrays, x[i : i + _CHUNK]) for i in range(0, max(len(x), 1), _CHUNK)]
    )


def _some(header: dict[str, Any], arrays: dict[str, Any], x: Any) -> Any:
    import numpy as np

    h = (x - arrays["mean"]) / arrays["std"] if "mean" in arrays else x
    layers = len(header["widths"]) - 1
    for i in range(layers):
        h = h @ arrays[f"w{i}"].T + arrays[f"b{i}"]
        if i < layers - 1:
            np.maximum(h, 0, out=h)
    if header["output"] == "linear":
        return h
    small = np.exp(-np.abs(h))  # never above 1
    return np.where(h >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def pairs(weights: Path, setup: Setup, part: str = "test") -> tuple[Any, Any]:
    """Truth and prediction [samples, targets] of a part of the data.

    Raises
    ------
    StudyError
        If weights, data or members cannot be read, or do not belong together.
    """
    header, arrays = files.load_weights(weights)
    x, y = data.table(setup.arrays)
    chosen = data.members(part, member(setup, part), len(x))
    if (x.shape[1], y.shape[1]) != (header["widths"][0], header["widths"][-1]):
        raise StudyError(
            f"{weights} is of {header['widths'][0]} inputs and {header['widths'][-1]} targets, "
            f"{setup.arrays.path} has {x.shape[1]} and {y.shape[1]}",
            "Give the data that it was trained on.",
        )
    return y[chosen], forward(header, arrays, x[chosen])


def member(setup: Setup, part: str) -> Path:
    """File with the sample numbers of a part."""
    if part not in setup.members:
        raise StudyError(f"no samples for {part} are named", f"There are {', '.join(setup.members)}.")
    return setup.members[part]


def binned(truth: Any, prediction: Any, bins: int = BINS) -> dict[str, Any]:
    """Histograms and errors of pairs [samples, targets]; see the module."""
    import numpy as np

    counts, edges = [], []
    for t, p in zip(truth.T.astype(np.float64), prediction.T.astype(np.float64), strict=True):
        low, high = min(t.min(), p.min()), max(t.max(), p.max())
        edge = np.linspace(low, high if high > low else low + 1, bins + 1)
        counts.append(np.histogram2d(t, p, bins=(edge, edge))[0].astype(np.uint32))
        edges.append(edge)
    missed = prediction.astype(np.float64) - truth
    mse, spread = (missed**2).mean(0), truth.astype(np.float64).var(0)
    return {
        "counts": np.array(counts),
        "edges": np.array(edges),
        "mse": mse,
        "bias": missed.mean(0),
        "r2": np.where(spread > 0, 1 - mse / np.where(spread > 0, spread, 1), np.nan),
        "truth": truth[:KEPT],
        "prediction": prediction[:KEPT],
        "samples": np.array(len(truth)),
    }


def main() -> int:
    """Run from the command line."""
    import numpy as np

    parser = argparse.ArgumentParser(description="Compare predictions of kept weights with the truth.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--setup", type=Path, required=True, help="what the worker was started with (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.npz)")
    parser.add_argument("--part", default="test")
    parser.add_argument("--bins", type=int, default=BINS)
    options = parser.parse_args()
    try:
        setup = Setup.model_validate_json(options.setup.read_bytes())
        made = binned(*pairs(options.weights, setup, options.part), options.bins)
    except (MlSuiteError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **made)
    atomic.write(options.out, buffer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
