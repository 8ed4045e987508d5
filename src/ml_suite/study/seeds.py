"""Seeds of trainings."""

from __future__ import annotations

import hashlib


def of_training(seed: int, trial: int, replicate: int) -> int:
    """Seed of a training: the study's for the first one of a trial, others by hash, so that all differ.

    >>> of_training(7, 3, 0), of_training(7, 3, 1) == of_training(7, 4, 1)
    (7, False)
    """
    if not replicate:
        return seed
    digest = hashlib.sha256(f"{seed}/{trial}/{replicate}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
