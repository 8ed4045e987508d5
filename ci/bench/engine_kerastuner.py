"""One side of engine.py, run in the peers' environment: the paper authors' way, KerasTuner's RandomSearch.

``engine_kerastuner.py DATA TRIALS EPOCHS FOLDER``: prints one JSON line a trial and waits for a line on standard input
before the next, so that the two sides take turns.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras import callbacks, layers, models

PATIENCE = 5
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048]


def build(hp: Any) -> Any:
    """Network of the paper, as its authors wrote it."""
    model = models.Sequential()
    for i in range(hp.Int("num_layers", 1, 20)):
        model.add(layers.Dense(units=hp.Choice(f"units_{i}", WIDTHS), activation="relu"))
    model.add(layers.Dense(4, activation="sigmoid"))
    model.compile(optimizer="Adam", loss="mse", metrics=["mae"])
    return model


class Tuner(keras_tuner.RandomSearch):  # type: ignore[misc]
    """Tells of each trial and waits."""

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        """Train one configuration."""
        told = super().run_trial(trial, *args, **kwargs)
        losses = told[0].history["val_loss"]
        values = trial.hyperparameters.values
        # a width that the oracle has not met yet is silently its default, the first of the list
        units = [values.get(f"units_{i}", WIDTHS[0]) for i in range(values["num_layers"])]
        print(json.dumps({"units": units, "epochs": len(losses), "best": min(losses)}), flush=True)
        sys.stdin.readline()
        for checkpoint in Path(self.project_dir).glob("trial_*/checkpoint*"):
            checkpoint.unlink() if checkpoint.is_file() else shutil.rmtree(checkpoint)
        return told


def main() -> None:
    """Search."""
    data, trials, epochs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    with np.load(data) as z:
        xt, yt, xv, yv = (z[name] for name in ("xt", "yt", "xv", "yv"))
    warm = models.Sequential([layers.Dense(8, activation="relu"), layers.Dense(4, activation="sigmoid")])
    warm.compile(optimizer="Adam", loss="mse")
    warm.fit(xt, yt, validation_data=(xv, yv), batch_size=1024, epochs=1, verbose=0)
    tuner = Tuner(
        build,
        objective="val_loss",
        max_trials=trials,
        directory=folder,
        project_name="search",
        overwrite=True,
        seed=0,
    )
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    stopping = callbacks.EarlyStopping("val_loss", patience=PATIENCE)
    tuner.search(
        xt, yt, validation_data=(xv, yv), batch_size=1024, epochs=epochs, verbose=0, callbacks=[stopping]
    )


if __name__ == "__main__":
    main()
