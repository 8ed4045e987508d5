"""A small table of samples, and real workers of the training environment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_suite.study.arrays import Arrays
from ml_suite.trainers.mlp.protocol import Setup
from tests.trainers.mlp.workers import Worker

SAMPLES = {"training": 700, "validation": 300, "test": 200}


@pytest.fixture(scope="session")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """1,200 samples of 6 inputs, far from normalised, and 3 targets between 0 and 1."""
    folder = tmp_path_factory.mktemp("table")
    draw = np.random.default_rng(3)
    count = sum(SAMPLES.values())
    z = draw.normal(size=(count, 6))
    x = (z * [1, 50, 1e-3, 2, 2, 9] + [0, 1e3, 1, -3, 7, 0]).astype(np.float32)
    logits = np.stack([z[:, 0] * z[:, 1], np.sin(2 * z[:, 2]) + z[:, 3], z[:, 4] ** 2 - z[:, 5]], axis=1)
    np.savez(
        folder / "table.npz",
        x=x,
        y=(1 / (1 + np.exp(-logits))).astype(np.float32),
        x_names=np.array([f"in{i}" for i in range(6)]),
        y_names=np.array(["one", "two", "three"]),
    )
    order, members, first = draw.permutation(count), {}, 0
    for name, size in SAMPLES.items():
        members[name] = folder / f"{name}.npy"
        np.save(members[name], np.sort(order[first : first + size]))
        first += size
    some = x[np.load(members["training"])].astype(np.float64)
    np.savez(folder / "normalisation.npz", mean=some.mean(0), std=some.std(0))
    return Setup(
        arrays=Arrays(
            path=folder / "table.npz",
            inputs="x",
            targets="y",
            sha256=hashlib.sha256((folder / "table.npz").read_bytes()).hexdigest(),
            samples=count,
            shape=(6, 3),
        ),
        members=members,
        normalisation=folder / "normalisation.npz",
        device="cpu",
        settings={"batch": 256},
    )


@pytest.fixture(scope="session")
def start(anemoi_python: Path, repository: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers, which end with the tests."""
    started: list[Worker] = []

    def one(setup: Setup, **changed: Any) -> Worker:
        started.append(Worker(anemoi_python, repository, setup.model_copy(update=changed)))
        return started[-1]

    yield one
    for worker in started:
        worker.end()


@pytest.fixture(scope="session")
def worker(start: Callable[..., Worker], setup: Setup) -> Worker:
    """A worker in fp32 that many tests share, as many trials do."""
    return start(setup)


@pytest.fixture(scope="session")
def second(start: Callable[..., Worker], setup: Setup) -> Worker:
    """Another one."""
    return start(setup)


@pytest.fixture(scope="session")
def half(start: Callable[..., Worker], setup: Setup) -> Worker:
    """A worker in bf16."""
    return start(setup, precision="bf16")
