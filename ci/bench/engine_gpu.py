"""How long 10,000 trials of the paper's smallest subset take on one GPU, and how busy it is meanwhile.

``.venv/bin/python ci/bench/engine_gpu.py [--trials N] [--workers K]``, where torch finds a GPU. Several workers share
it, longest trials first, in bf16; at most 100 epochs, patience of 5, 2,500 + 2,500 samples. What N trials took is
scaled to 10,000. The paper: 11.2 GPU-hours on V100. ``--device cpu`` measures the same on cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np
from engine import BATCH, PATIENCE, SAMPLES, Child, prepare, smooth

from ml_suite.home import cache
from ml_suite.study.contract import TrialState
from ml_suite.trainers.mlp import settings
from ml_suite.trainers.mlp.protocol import Answer, Order, Setup

TRIALS, EPOCHS, PAPER = 10_000, 100, 11.2
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048]


def orders(trials: int, epochs: int) -> list[Order]:
    """Draw from the paper's space; the longest comes first."""
    draw = np.random.default_rng(0)
    drawn = [draw.choice(WIDTHS, draw.integers(1, 21)).tolist() for _ in range(trials)]
    drawn.sort(key=lambda units: -settings.parameters((16, *units, 4)))
    patience = PATIENCE * settings.steps(SAMPLES, BATCH)
    return [
        Order(trial=i, params={"units": units}, seed=i, epochs=epochs, patience=patience)
        for i, units in enumerate(drawn)
    ]


class Watch(threading.Thread):
    """Samples of the GPU's utilisation, in percent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Ask twice a second."""
        line = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self.done.wait(0.5):
            told = subprocess.run(line, capture_output=True, text=True, check=False)
            if told.returncode == 0:
                self.seen.append(float(told.stdout.split()[0]))


def run(setup: Setup, todo: list[Order], count: int) -> tuple[list[Answer], float]:
    """Answers, and the seconds from the first order to the last answer."""
    python = (Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")) / "bin" / "python"
    source = {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    workers = [Child([str(python), "-m", "ml_suite.trainers.mlp.worker"], source) for _ in range(count)]
    free: Queue[Child] = Queue()

    def train(order: Order) -> Answer:
        worker = free.get()
        try:
            worker.ask(order.model_dump_json())
            return Answer.model_validate_json(worker.hear())
        finally:
            free.put(worker)

    try:
        for worker in workers:
            worker.ask(setup.model_dump_json())
            worker.ask(todo[-1].model_dump_json())
        for worker in workers:
            worker.hear()  # it has read the data and met the device
            free.put(worker)
        begin = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(train, todo))
        return answers, time.monotonic() - begin
    finally:
        for worker in workers:
            worker.end()


def main() -> int:
    """Run; 1 when it takes more than an hour or a trial has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    watch = Watch()
    if arguments.device == "cuda":
        watch.start()
    with tempfile.TemporaryDirectory() as folder:
        setup = prepare(Path(folder), *smooth(2 * SAMPLES))[1]["bf16"].model_copy(
            update={"device": arguments.device}
        )
        todo = orders(arguments.trials, arguments.epochs)
        answers, seconds = run(setup, todo, arguments.workers)
    watch.done.set()
    hours = seconds / arguments.trials * TRIALS / 3600
    flop = sum(
        settings.flops((16, *order.params["units"], 4), SAMPLES, SAMPLES) * (answer.epochs or 0)
        for order, answer in zip(todo, answers, strict=True)
    )
    bad = [a for a in answers if a.state not in (TrialState.COMPLETE, TrialState.DIVERGED)]
    print(
        f"{arguments.trials} trials, {arguments.workers} workers: {seconds:.1f} s, {flop / seconds / 1e12:.2f} TFLOP/s"
    )
    print(
        f"RATIO of the paper's {PAPER} V100-hours for {TRIALS:,} trials: {PAPER / hours:.1f} ({hours:.2f} hours)"
    )
    if watch.seen:
        low, middle, high = np.percentile(watch.seen, [25, 50, 75])
        print(f"UTILISATION of the GPU, quartiles: {low:.0f}, {middle:.0f}, {high:.0f} %")
    for answer in bad[:3]:
        print(f"trial {answer.trial}: {answer.state} {answer.reason}")
    return 1 if bad or hours > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
