"""Inside the training environment: make the data sets of the search benches, and train networks on parts of them.

    python ci/bench/nets_inside.py make NAME OUT.npz    # inputs x, targets y
    python ci/bench/nets_inside.py train                # a request a line in, an answer a line out

One process trains on many parts of the data, so a bench pays the start of torch once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLES = 14_336
SEED = 20

Table = tuple[NDArray[np.float64], NDArray[np.float64]]


def friedman() -> Table:
    """Friedman's first function with noise: smooth, ten inputs of which five matter."""
    r = np.random.default_rng(SEED)
    x = r.random((SAMPLES, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, (y + r.normal(0, 1, SAMPLES))[:, None] / 35 + 0.1


def waves() -> Table:
    """Products of waves and fronts without noise: six inputs, three targets."""
    r = np.random.default_rng(SEED + 1)
    x = r.uniform(-1, 1, (SAMPLES, 6))
    a = np.sin(3 * x[:, 0] + 2 * x[:, 1] * x[:, 2])
    b = np.exp(-4 * (x[:, 3] - x[:, 4] * x[:, 5]) ** 2)
    c = 1 / (1 + np.exp(-6 * (x[:, 0] * x[:, 3] + x[:, 5])))
    return x, np.stack([0.5 + 0.45 * a * b, 0.9 * b, c], 1)


def clusters() -> Table:
    """Five classes of three clusters each as regression on their indicators, 2 % of the labels wrong."""
    from sklearn.datasets import make_classification

    x, label = make_classification(
        SAMPLES,
        n_features=20,
        n_informative=10,
        n_redundant=4,
        n_classes=5,
        n_clusters_per_class=3,
        class_sep=1.2,
        flip_y=0.02,
        random_state=SEED,
    )
    return x, np.eye(5)[label]


def evaporation() -> Table:
    """Latent heat flux of a canopy (Penman-Monteith, Monteith 1965) from weather, with noise of a measurement.

    Inputs: temperature, relative humidity, wind, net radiation, pressure, leaf area, stomatal resistance, height.
    """
    r = np.random.default_rng(SEED + 2)
    low = [273.0, 0.15, 0.5, -50.0, 70e3, 0.5, 40.0, 0.1]
    high = [313.0, 1.0, 12.0, 800.0, 103e3, 6.0, 400.0, 2.0]
    x = r.uniform(low, high, (SAMPLES, 8))
    t, rh, wind, net, pressure, leaves, stomata, height = x.T
    saturated = 611.2 * np.exp(17.67 * (t - 273.15) / (t - 29.65))
    slope = saturated * 17.67 * 243.5 / (t - 29.65) ** 2
    density, gamma = pressure / (287.0 * t), 1005.0 * pressure / (0.622 * 2.5e6)
    length = np.log((3.0 - 0.67 * height) / (0.123 * height))
    air = length**2 / (0.41**2 * wind)
    surface = stomata / leaves * (1 + np.maximum(0, 298.0 - t) / 20)
    flux = (slope * 0.9 * net + density * 1005.0 * saturated * (1 - rh) / air) / (
        slope + gamma * (1 + surface / air)
    )
    noisy = flux + r.normal(0, 8.0, SAMPLES)
    return x, np.clip((noisy + 100.0) / 1100.0, 0, 1)[:, None]


def digits() -> Table:
    """Real handwriting (scikit-learn's digits), each image moved by a pixel at random; the classes as targets.

    Rows keep the order of the images, so `part` can put all copies of an image on one side.
    """
    from sklearn.datasets import load_digits

    r = np.random.default_rng(SEED + 3)
    images, label = load_digits(return_X_y=True)
    copies = -(-SAMPLES // len(images))
    rows = np.repeat(np.arange(len(images)), copies)[:SAMPLES]
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    down, right = r.integers(0, 3, (2, len(rows)))
    moved = np.stack([padded[i, d : d + 8, e : e + 8] for i, d, e in zip(rows, down, right, strict=True)])
    return moved.reshape(len(rows), 64) + r.normal(0, 1.0, (len(rows), 64)), np.eye(10)[label[rows]]


MADE = {f.__name__: f for f in (friedman, waves, clusters, evaporation, digits)}


def make(name: str, out: Path) -> None:
    """Write a data set."""
    x, y = MADE[name]()
    np.savez(out, x=x.astype(np.float32), y=y.astype(np.float32))


def train() -> None:
    """Answer requests: the setup of a worker and an order; the same data are read once."""
    import torch

    from ml_suite.trainers.mlp import data, loop
    from ml_suite.trainers.mlp.protocol import Order, Setup

    torch.set_num_threads(1)
    trainers: dict[str, loop.Trainer] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = json.dumps(asked["setup"], sort_keys=True)
        if key not in trainers:
            setup = Setup.model_validate(asked["setup"])
            trainers = {key: loop.Trainer(setup, data.load(setup, "cpu"), "cpu")}
        print(trainers[key].train(Order.model_validate(asked["order"])).model_dump_json(), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], Path(sys.argv[3]))
    else:
        train()
