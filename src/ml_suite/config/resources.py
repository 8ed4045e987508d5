"""What one job asks of a host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ml_suite.config.values import Duration, Strict


class Resources(Strict):
    """What one job asks for; the host file turns GPUs into nodes, tasks and a partition."""

    walltime: Duration
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs in all; 0 trains one process on the CPU."""
    cpus: Annotated[int, Field(gt=0)] = 1
    """CPU cores of a job without a GPU."""

    @property
    def replicas(self) -> int:
        """Data-parallel copies of the model: one per GPU, one process without."""
        return max(1, self.gpus)
