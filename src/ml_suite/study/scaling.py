"""Keep step 2 the configuration of step 1 when it runs on another number of replicas.

A trainer multiplies the learning rate by its replicas and takes the batch size per replica. The values of the space
are stated for the reference layout, so both are divided by the ratio of the layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.errors import StudyError
from ml_suite.study.contract import Layout


@dataclass(frozen=True)
class Scaled:
    """What a trainer is given, and what comes of it."""

    lr: float
    """Learning rate to hand to the trainer, which multiplies it by the replicas."""
    batch: int
    """Samples per replica and step."""
    effective_lr: float
    """Learning rate of the optimiser."""
    global_batch: int
    """Samples per optimiser step over all replicas."""


def scale(lr: float, batch: int, layout: Layout, accumulate: int = 1) -> Scaled:
    """Translate learning rate and batch size stated for the reference layout to another number of replicas.

    Parameters
    ----------
    batch
        Samples per replica of the reference layout.
    accumulate
        Batches per optimiser step.

    Raises
    ------
    StudyError
        If the global batch cannot be shared evenly.
    """
    samples = batch * layout.reference
    if samples % layout.replicas:
        raise StudyError(
            f"a batch of {samples} samples ({batch} on each of {layout.reference} replicas) cannot be shared by "
            f"{layout.replicas} replicas, so this would not be the configuration that was searched",
            "Choose a batch size and numbers of GPUs that divide.",
        )
    return Scaled(
        # exact when nothing changes: x * 3 / 3 need not be x
        lr=lr if layout.replicas == layout.reference else lr * layout.reference / layout.replicas,
        batch=samples // layout.replicas,
        effective_lr=lr * layout.reference,
        global_batch=samples * accumulate,
    )
