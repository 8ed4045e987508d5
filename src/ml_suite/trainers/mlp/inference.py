"""How long a network takes for one sample on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

_ROUNDS = 5
_ROUND = 0.2e-3
"""CPU-seconds of a round, at least; the median round counts."""


def seconds(layers: Sequence[tuple[Any, Any]], output: str) -> float:
    """CPU-seconds of one forward pass of one sample in fp32.

    Parameters
    ----------
    layers
        Weights [outputs, inputs] and biases of each, torch tensors.
    """
    import torch

    calls: list[Callable[[], Any]] = []
    given = torch.zeros(1, layers[0][0].shape[1])
    for i, (weights, biases) in enumerate(layers):
        made = torch.empty(1, weights.shape[0])
        calls.append(partial(torch.addmm, biases.cpu(), given, weights.cpu().t(), out=made))
        if i < len(layers) - 1:
            calls.append(made.relu_)
        elif output == "sigmoid":
            calls.append(made.sigmoid_)
        given = made
    return statistics.median(_round(calls) for _ in range(_ROUNDS))


def _round(calls: Sequence[Callable[[], Any]]) -> float:
    begin, count = time.thread_time(), 0
    while (passed := time.thread_time() - begin) < _ROUND or not count:
        for call in calls:
            call()
        count += 1
    return passed / count
