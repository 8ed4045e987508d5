"""Pilots of an invented world: what each configuration reaches at each size of the data is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ml_suite.study.contract import TrialResult
from tests.study.results import result


@dataclass
class World:
    """Losses are exp(0.4 * quality), smaller sizes are worse, noisier, and judge another quality too."""

    trials: int = 200
    noise: float = 0.03
    bias: float = 0.1
    """Part of the quality at a size that has nothing to do with the quality on everything, at each doubling."""
    seed: int = 0
    full_seconds: float = 1.0
    overhead: float = 0.01
    quality: np.ndarray = field(init=False)
    other: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        self.quality = random.standard_normal(self.trials)
        self.other = random.standard_normal(self.trials)

    def value(self, trial: int, share: float, seed: int) -> float:
        """Value of one training."""
        doublings = math.log2(1 / share)
        kept = (1 - self.bias) ** doublings
        latent = kept * self.quality[trial] + math.sqrt(1 - kept**2) * self.other[trial]
        random = np.random.default_rng([self.seed, trial, seed, round(1e6 * share)])
        noise = self.noise * (1 + doublings / 2)
        return float(0.01 * share**-0.5 * math.exp(0.4 * latent + noise * random.standard_normal()))

    def regret(self, trial: int) -> float:
        """True one, relative."""
        return float(math.exp(0.4 * (self.quality[trial] - self.quality.min())) - 1)

    def train(
        self, share: float, trials: range | tuple[int, ...], seed: int, step: int = 1
    ) -> list[TrialResult]:
        """Results of some trials."""
        seconds = self.overhead + share * self.full_seconds
        return [
            result(
                i,
                self.value(i, share, seed),
                step,
                seconds=seconds,
                cpu_seconds=seconds,
                replicate=seed % 100,
            )
            for i in trials
        ]
