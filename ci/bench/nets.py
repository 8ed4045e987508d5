"""Trainings for the benches of the search: small networks on six data sets, each trained once.

Every training is kept in ``$XDG_CACHE_HOME/ml-suite/bench/nets`` by what decides it, so a bench that is run again only
computes. CPU-seconds are those of the first run; where there are many trainings, they are fitted to steps, layers and
arithmetic, for on a machine with other work the same training takes now more, now less.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ml_suite.home import cache
from ml_suite.study import subset, trials
from ml_suite.study.arrays import Arrays
from ml_suite.trainers.mlp import settings

ROOT = Path(__file__).resolve().parents[2]
PYTHON = cache() / "anemoi" / "bin" / "python"
FOLDER = cache() / "bench" / "nets"
VALIDATION = 1024
MANY = 300
"""Trainings from which their CPU-seconds are fitted."""

SPACE: dict[str, dict[str, Any]] = {
    "layers": {"int": [1, 4]},
    "units": {"choice": [8, 16, 32, 64], "per": "layers"},
    "learning_rate": {"log": [1e-3, 1e-2]},
}
"""Small networks, so that thousands can be trained; the learning rate makes small subsets misleading, as it does in
life: with few steps a high rate looks better than it is."""


@dataclass(frozen=True)
class Data:
    """A data set and how it is trained on."""

    name: str
    samples: int = 12_288
    """For training; those of the validation come on top."""
    epochs: int = 24
    batch: int = 128
    sorted_groups: bool = False
    """Rows are copies of few originals: the validation is the end of the table rather than a random part."""


DATA = {
    d.name: d
    for d in (
        Data("friedman"),
        Data("waves"),
        Data("clusters"),
        Data("aerosol"),
        Data("evaporation"),
        Data("digits", sorted_groups=True),
    )
}


@dataclass(frozen=True)
class Trained:
    """One training."""

    history: list[float]
    """Validation loss after each epoch; infinite from a NaN on."""
    seconds: float
    """Of CPU."""
    parameters: int

    @property
    def best(self) -> float:
        """Best value, the one that counts."""
        return min(self.history)


class Nets:
    """Trainings on one data set, remembered."""

    def __init__(self, data: Data, folder: Path = FOLDER) -> None:
        made = json.dumps([asdict(data), SPACE, 2], sort_keys=True)
        self.data = data
        self.folder = folder / f"{data.name}-{hashlib.sha256(made.encode()).hexdigest()[:10]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.draw = trials.drawing(SPACE, [], "random", 3)
        self.record = self.folder / "trainings.jsonl"
        self.known = dict(self._read())
        self.spent = 0.0
        """CPU-seconds of trainings that were not remembered."""
        self.arrays, self.parts = self._data()
        self.speed = self._fitted()
        self._process: subprocess.Popen[str] | None = None

    def train(self, trial: int, share: float, draw: int, seed: int) -> Trained:
        """Train a trial.

        Parameters
        ----------
        share
            Part of the training samples.
        draw
            Seed of the subset.
        seed
            Seed of the training.
        """
        key = f"{trial}/{share:g}/{draw if share < 1 else 0}/{seed}"
        if key not in self.known:
            self.known[key] = self._train(trial, share, draw, seed)
            with self.record.open("a") as f:
                f.write(json.dumps([key, asdict(self.known[key])]) + "\n")
        found = self.known[key]
        return found if self.speed is None else replace(found, seconds=float(self.speed @ self._work(key)))

    def _work(self, key: str) -> NDArray[np.float64]:
        """What the time of a training depends on: epochs, steps, steps by layers, and products."""
        trial, share, *_ = key.split("/")
        widths = settings.sizes(
            settings.parse(self.draw(int(trial)), {"batch": self.data.batch}), *self.arrays.shape
        )
        samples = round(float(share) * self.data.samples)
        steps = -(-samples // self.data.batch)
        products = settings.flops(widths, samples, VALIDATION)
        return self.data.epochs * np.array([1.0, steps, steps * len(widths), products])

    def _fitted(self) -> NDArray[np.float64] | None:
        """Seconds of each kind of work, by the median over what else the machine did; None with few trainings."""
        if len(self.known) < MANY:
            return None
        work = np.array([self._work(key) for key in self.known])
        seconds = np.array([found.seconds for found in self.known.values()])
        weights = 1 / seconds
        for _ in range(20):
            speed, _ = nnls(work * weights[:, None], seconds * weights)
            off = np.abs(work @ speed / seconds - 1)
            weights = 1 / seconds / np.sqrt(np.maximum(off, 0.02))
        return np.asarray(speed)

    def close(self) -> None:
        """End the process that trains."""
        if self._process is not None:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(30)
            self._process = None

    def _read(self) -> list[tuple[str, Trained]]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [(key, Trained(**found)) for key, found in map(json.loads, lines)]

    def _data(self) -> tuple[Arrays, subset.Parts]:
        path = self.folder / "data.npz"
        if not path.exists():
            make = [ROOT / "ci/bench/nets_inside.py", "make", self.data.name, path]
            if self.data.name == "aerosol":
                make = [
                    ROOT / "suites/aerosol/make.py",
                    path,
                    "--samples",
                    self.data.samples + 2 * VALIDATION,
                ]
            subprocess.run(
                [PYTHON, *map(str, make)], env=_environment(), check=True, stdout=subprocess.DEVNULL
            )
        with np.load(path) as z:
            x, y = z["x"], z["y" if "y" in z else "fn"]
        rows = np.arange(len(x))
        if not self.data.sorted_groups:
            rows = subset.order(len(x), 1)
        used = rows[: self.data.samples], rows[self.data.samples :][:VALIDATION]
        training, validation = map(np.sort, used)
        if self.data.sorted_groups:
            rest = rows[self.data.samples :]
            validation = subset.subset(rest, VALIDATION / len(rest), 1)
        np.savez(self.folder / "normal.npz", mean=x[training].mean(0), std=x[training].std(0) + 1e-12)
        np.save(self.folder / "validation.npy", validation)
        arrays = Arrays(
            path=path,
            inputs="x",
            targets="y" if self.data.name != "aerosol" else _targets(path),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            samples=len(x),
            shape=(x.shape[1], y.shape[1]),
        )
        return arrays, subset.Parts(training=training, validation=validation, test=validation)

    def _train(self, trial: int, share: float, draw: int, seed: int) -> Trained:
        members = self.folder / (f"{share:g}-{draw}.npy" if share < 1 else "training.npy")
        if not members.exists():
            np.save(members, subset.subset(self.parts.training, share, draw))
        setup = {
            "arrays": self.arrays.model_dump(mode="json"),
            "members": {"training": str(members), "validation": str(self.folder / "validation.npy")},
            "normalisation": str(self.folder / "normal.npz"),
            "settings": {"batch": self.data.batch},
        }
        order = {
            "trial": trial,
            "params": self.draw(trial),
            "seed": int.from_bytes(hashlib.sha256(f"{seed}/{trial}".encode()).digest()[:4], "big"),
            "epochs": self.data.epochs,
        }
        answer = self._ask({"setup": setup, "order": order})
        self.spent += answer["cpu_seconds"]
        values = [np.inf if p["value"] is None else p["value"] for p in answer["history"]]
        return Trained(values or [np.inf], answer["cpu_seconds"], answer["parameters"] or 0)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            command = [str(PYTHON), str(ROOT / "ci/bench/nets_inside.py"), "train"]
            self._process = subprocess.Popen(
                command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise SystemExit("the process that trains has ended; see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _targets(path: Path) -> str:
    with np.load(path) as z:
        return "y" if "y" in z else "fn"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
