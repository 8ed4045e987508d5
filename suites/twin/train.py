"""Forecast the pressure six hours ahead with one hidden layer: a trainer of a few seconds for `trainer: command`.

It reads ``trial.json``, trains on the dates of its period and leaves ``outcome.json`` and ``weights.json``. It uses one
core and draws everything from the seed, so the same trial has the same result on every host.

    python train.py TRIAL/trial.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zarr

TARGET = "msl"
BATCH = 512


def read(spec: dict[str, Any], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Normalised fields (sample, variable, value) and the target six hours later (sample, value) of a period."""
    store = zarr.open(spec["dataset"]["path"], mode="r")
    names = list(store.attrs["variables"])
    dates = np.asarray(store["dates"][:]).astype("datetime64[s]")
    missing = {np.datetime64(text, "s") for text in store.attrs["missing_dates"]}
    first, last = (np.datetime64(spec[part][end][:19], "s") for end in ("start", "end"))
    usable = [date not in missing for date in dates]
    at = [
        i
        for i in range(len(dates) - 1)
        if first <= dates[i] and dates[i + 1] <= last and usable[i] and usable[i + 1]
    ]
    mean, deviation = store["mean"][:], store["stdev"][:]
    fields = (store["data"][:, :, 0, :] - mean[None, :, None]) / deviation[None, :, None]
    return fields[at].astype("f8"), fields[[i + 1 for i in at], names.index(TARGET)].astype("f8")


def columns(fields: np.ndarray) -> np.ndarray:
    """One row for each sample and grid point."""
    return fields.transpose(0, 2, 1).reshape(-1, fields.shape[1])


def main(path: Path) -> None:
    """Train one trial."""
    spec = json.loads(path.read_text())
    here = path.parent
    draw = np.random.default_rng(spec["seed"])
    fields, after = read(spec, "training")
    x, y = columns(fields), after.reshape(-1)
    other, later = read(spec, "validation")
    width, lr, decay = (spec["params"].get(name, given) for name, given in DEFAULTS.items())
    hidden = draw.normal(0, 1 / np.sqrt(x.shape[1]), (x.shape[1], width))
    out, residual = np.zeros(width), np.zeros(x.shape[1])
    history = []
    steps = 0
    for epoch in range(spec["budget"]["epochs"]):
        order = draw.permutation(len(x))[: 40 * BATCH]
        for start in range(0, len(order), BATCH):
            rows = x[order[start : start + BATCH]]
            active = np.maximum(rows @ hidden, 0)
            error = active @ out + rows @ residual - y[order[start : start + BATCH]]
            out -= lr * (active.T @ error / len(rows) + decay * out)
            residual -= lr * (rows.T @ error / len(rows) + decay * residual)
            steps += 1
        rows = columns(other)
        error = np.maximum(rows @ hidden, 0) @ out + rows @ residual - later.reshape(-1)
        # the last digits depend on the machine's instructions
        value = float(f"{np.sqrt(np.mean(error**2)):.9g}")
        history.append({"epoch": epoch, "step": steps, "value": value})
        (here / "progress").write_text(str((epoch + 1) / spec["budget"]["epochs"]))
    weights = {"hidden": hidden.tolist(), "out": out.tolist(), "residual": residual.tolist()}
    (here / "weights.json").write_text(json.dumps(weights))
    outcome = {
        "metrics": {spec["metric"]: history[-1]["value"]},
        "history": history,
        "checkpoint": "weights.json",
        "parameters": int(hidden.size + out.size + residual.size),
        "effective_lr": lr,
        "global_batch": BATCH,
    }
    (here / "outcome.json").write_text(json.dumps(outcome))


DEFAULTS = {"width": 16, "lr": 0.01, "decay": 1e-4}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
