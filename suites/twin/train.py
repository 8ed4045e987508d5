"""Forecast the pressure six hours ahead with one hidden layer: a trainer of a few seconds for `trainer: command`.

It reads ``trial.json``, trains on the dates of its period and leaves ``outcome.json`` and ``weights.json``. It uses one
core and draws everything from the seed, so the same trial has the same result on every host. Told to wait after some
epochs it leaves ``resume`` and goes on from there; with a patience it stops when nothing gets better.

    python train.py TRIAL/trial.json
"""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import dataclass, field
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
    parts = spec["blocks"] if part == "training" and spec["blocks"] else [spec[part]]
    spans = [[np.datetime64(span[end][:19], "s") for end in ("start", "end")] for span in parts]
    usable = [date not in missing for date in dates]
    at = [
        i
        for i in range(len(dates) - 1)
        if usable[i]
        and usable[i + 1]
        and any(first <= dates[i] and dates[i + 1] <= last for first, last in spans)
    ]
    mean, deviation = store["mean"][:], store["stdev"][:]
    fields = (store["data"][:, :, 0, :] - mean[None, :, None]) / deviation[None, :, None]
    return fields[at].astype("f8"), fields[[i + 1 for i in at], names.index(TARGET)].astype("f8")


def columns(fields: np.ndarray) -> np.ndarray:
    """One row for each sample and grid point."""
    return fields.transpose(0, 2, 1).reshape(-1, fields.shape[1])


@dataclass
class State:
    """A training so far."""

    draw: np.random.Generator
    hidden: np.ndarray
    out: np.ndarray
    residual: np.ndarray
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    """Value, step and weights of the best epoch."""

    @property
    def weights(self) -> dict[str, Any]:
        """What forecasts."""
        return {name: getattr(self, name).tolist() for name in ("hidden", "out", "residual")}

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.history)

    def note(self, value: float, step: int) -> None:
        """Take down an epoch."""
        self.history.append({"epoch": self.epochs, "step": step, "value": value})
        if not self.best or value < self.best["value"]:
            self.best = {"value": value, "step": step, "weights": self.weights}

    def over(self, patience: int | None) -> bool:
        """Whether nothing got better for so many steps."""
        return (
            patience is not None
            and self.epochs > 0
            and self.history[-1]["step"] - self.best["step"] >= patience
        )


def begun(seed: int, inputs: int, width: int) -> State:
    """Start a training."""
    draw = np.random.default_rng(seed)
    hidden = draw.normal(0, 1 / np.sqrt(inputs), (inputs, width))
    return State(draw, hidden, np.zeros(width), np.zeros(inputs))


def train(state: State, x: np.ndarray, y: np.ndarray, lr: float, decay: float) -> int:
    """Train an epoch; returns its steps."""
    order = state.draw.permutation(len(x))[: 40 * BATCH]
    starts = range(0, len(order), BATCH)
    for start in starts:
        chosen = order[start : start + BATCH]
        rows = x[chosen]
        active = np.maximum(rows @ state.hidden, 0)
        error = active @ state.out + rows @ state.residual - y[chosen]
        state.out -= lr * (active.T @ error / len(rows) + decay * state.out)
        state.residual -= lr * (rows.T @ error / len(rows) + decay * state.residual)
    return len(starts)


def main(path: Path) -> None:
    """Train one trial, or a part of it."""
    spec = json.loads(path.read_text())
    here, budget = path.parent, spec["budget"]
    fields, after = read(spec, "training")
    x, y = columns(fields), after.reshape(-1)
    other, later = read(spec, "validation")
    width, lr, decay = (spec["params"].get(name, given) for name, given in DEFAULTS.items())
    waiting = here / "resume"
    # written by this program, in the folder of this trial
    state = pickle.loads(waiting.read_bytes()) if waiting.exists() else begun(spec["seed"], x.shape[1], width)
    patience = budget["patience"]
    while state.epochs < (budget["until"] or budget["epochs"]) and not state.over(patience):
        steps = (state.history[-1]["step"] if state.history else 0) + train(state, x, y, lr, decay)
        rows = columns(other)
        error = np.maximum(rows @ state.hidden, 0) @ state.out + rows @ state.residual - later.reshape(-1)
        # the last digits depend on the machine's instructions
        value = float(f"{np.sqrt(np.mean(error**2)):.9g}")
        state.note(value, steps)
        (here / "progress").write_text(str(state.epochs / budget["epochs"]))
        # whole or not at all: it may be killed here
        (here / "resume.new").write_bytes(pickle.dumps(state))
        (here / "resume.new").replace(waiting)
    stopped = state.over(patience)
    last = {"value": state.history[-1]["value"], "weights": state.weights}
    kept = last if patience is None else state.best
    (here / "weights.json").write_text(json.dumps(kept["weights"]))
    outcome = {
        "metrics": {spec["metric"]: kept["value"]},
        "history": state.history,
        "stopped_early": stopped,
        "paused": not stopped and state.epochs < budget["epochs"],
        "checkpoint": "weights.json",
        "parameters": int(state.hidden.size + state.out.size + state.residual.size),
        "effective_lr": lr,
        "global_batch": BATCH,
    }
    (here / "outcome.json").write_text(json.dumps(outcome))


DEFAULTS = {"width": 16, "lr": 0.01, "decay": 1e-4}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
