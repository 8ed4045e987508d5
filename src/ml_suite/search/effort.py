"""How much work trainings are, whatever else their machine does: what decisions rest on.

A study decides alike on a busy machine, with any number of workers, and when it was killed and goes on. So trainings of
trainer mlp are counted by their arithmetic and optimiser steps, which the seed determines, and given in seconds of a
usual core. What a program of one's own does is not known: its processor time is taken, which differs a little from run
to run. People are shown seconds of the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ml_suite.search import environment
from ml_suite.study import piloting, speed, trials
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import TrialResult
from ml_suite.study.speed import Rate, Work
from ml_suite.trainers.mlp import settings

_DRAWN = 200
"""Trials that stand for all in an estimate."""

_SPEED = {"fp32": 70e9, "bf16": 120e9}
"""Floating-point operations per second of one core in the matrix products."""

_STEP, _LAYER = 30e-6, 12e-6
"""Seconds of an optimiser step, and of a layer in it, besides the products."""


def clock(plan: ArrayPlan) -> str:
    """What the trainings of a study are counted by."""
    if plan.trainer == "mlp":
        return "arithmetic"
    return "seconds" if environment.gpus() else "processor time"


def counted(plan: ArrayPlan) -> Work:
    """Return what counts the work of a training."""
    if plan.trainer != "mlp":
        return speed.wall if environment.gpus() else speed.processor
    training = plan.members["training"].count

    def work(share: float, result: TrialResult) -> float:
        step: Literal["step1", "step2"] = "step2" if share == 1.0 else "step1"
        count = round(share * training)
        return _network(plan, result.params, count, step, result.epochs or 0, result.steps or 0)

    return work


def estimated(plan: ArrayPlan) -> Rate | None:
    """Length of trainings before there are any; None for a program of one's own."""
    if plan.trainer != "mlp":
        return None
    training = plan.members["training"].count
    share = plan.subset if plan.subset < 1 else 0.1
    ready = piloting.drawn(plan)
    drawn = [trials.parameters(ready, trial) for trial in range(min(plan.trials, _DRAWN))]

    def mean(part: float, step: Literal["step1", "step2"]) -> float:
        count, epochs = round(part * training), plan.epochs["step1"]
        return sum(_network(plan, params, count, step, epochs) for params in drawn) / len(drawn)

    small, whole = mean(share, "step1"), mean(1.0, "step2")
    # what does not grow with the data: the start, and judging on the same validation data after each epoch
    full = min(whole, (whole - small) / (1 - share))
    overhead = max(speed.OVERHEAD[plan.trainer], small - share * full)
    return Rate(overhead, full, measured=False)


def _network(
    plan: ArrayPlan,
    params: Mapping[str, Any],
    samples: int,
    step: Literal["step1", "step2"],
    epochs: int,
    steps: int | None = None,
) -> float:
    """Seconds of a usual core."""
    chosen = settings.parse(params, plan.settings)
    widths = settings.sizes(chosen, *plan.arrays.shape)
    if steps is None:
        steps = epochs * settings.steps(samples, chosen.batch)
    products = epochs * settings.flops(widths, samples, plan.members["validation"].count)
    each = _STEP + _LAYER * len(widths)
    return speed.OVERHEAD["mlp"] + products / _SPEED[plan.precision[step]] + steps * each
