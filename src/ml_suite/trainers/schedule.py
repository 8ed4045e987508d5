"""How many optimiser steps anemoi-training makes, so that its learning-rate schedule ends when the training does."""

from __future__ import annotations

import math


def steps(
    samples: int,
    epochs: int,
    batch: int,
    replicas: int = 1,
    workers: int = 1,
    accumulate: int = 1,
    limit: int | float | None = None,
) -> int:
    """Count the steps of a whole training.

    The samples are cut into even shares for the replicas (the rest is left out), each share is divided among the data
    loader's workers, and each worker makes batches of its own, the last of which may be smaller.

    Parameters
    ----------
    batch
        Samples per replica.
    workers
        Data loader workers per replica.
    accumulate
        Batches per step.
    limit
        Batches (an integer) or share of the batches (a real number) of an epoch that are used.
    """
    share = samples // replicas
    parts = [share // workers + (i < share % workers) for i in range(workers)]
    batches = sum(math.ceil(part / batch) for part in parts)
    if isinstance(limit, float) and limit <= 1.0:
        batches = int(batches * limit)
    elif limit is not None:
        batches = min(batches, int(limit))
    return math.ceil(batches / accumulate) * epochs
