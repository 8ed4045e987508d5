"""Talk to a real worker, as a study does."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from ml_suite.trainers.mlp.protocol import Answer, Order, Setup


def order(trial: int = 0, **given: Any) -> Order:
    """A short training of a small network, unless it says otherwise."""
    usual = {"params": {"layers": 2, "units": [32, 16]}, "seed": 7, "epochs": 6}
    return Order(trial=trial, **{**usual, **given})


class Worker:
    """One process of the training environment."""

    def __init__(self, python: Path, repository: Path, setup: Setup) -> None:
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
        self.process = subprocess.Popen(
            [str(python), "-m", "ml_suite.trainers.mlp.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "PYTHONPATH": str(repository / "src")},
        )
        self.ask(setup)

    def ask(self, document: Setup | Order) -> None:
        assert self.process.stdin
        self.process.stdin.write(document.model_dump_json() + "\n")
        self.process.stdin.flush()

    def hear(self) -> Answer:
        assert self.process.stdout
        return Answer.model_validate_json(self.process.stdout.readline())

    def train(self, document: Order) -> Answer:
        self.ask(document)
        return self.hear()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str]:
        """Exit code, and what it said on standard error."""
        assert self.process.stdin
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.stdout
        assert self.process.stderr
        words = "" if self.process.stderr.closed else self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, words
