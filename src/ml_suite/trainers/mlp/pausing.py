"""A training that waits in a file: how far it is, its parameters, and the moments of its optimiser.

It goes on with the same numbers, bit for bit. The file is whole or not there, but it is not forced to the disk: a
training without one starts anew, with the same result.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_suite.study.contract import HistoryPoint
from ml_suite.trainers.mlp.network import Network


@dataclass
class Progress:
    """How far a training is."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_step: int = 0
    history: list[HistoryPoint] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best weights."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def pause(path: Path, identity: str, progress: Progress, net: Network, best: Any) -> None:
    """Write the file.

    Parameters
    ----------
    identity
        What decides every number of the training.
    best
        Buffer with the best parameters.

    Raises
    ------
    OSError
        As the file system says (full disk, no permission); nothing is left behind.
    """
    import numpy as np

    buffers = [net.values, net.first, net.second]
    if progress.best_step != progress.step:
        buffers.append(best)
    told = {**asdict(progress), "history": [point.model_dump() for point in progress.history]}
    header = json.dumps({"identity": identity, "arrays": len(buffers), "progress": told})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as f:
            np.save(f, np.frombuffer(header.encode(), dtype=np.uint8))
            for buffer in buffers:
                np.save(f, buffer.cpu().numpy())
            np.save(f, np.array([len(buffers)]))  # a file that was cut short lacks it
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def resume(path: Path, identity: str, net: Network, best: Any) -> Progress | None:
    """Set the buffers from the file; None without one, or when it is torn or of another training."""
    import torch

    read = _read(path, identity)
    if read is None:
        return None
    told, arrays = read
    buffers = (net.values, net.first, net.second, best)
    if any(array.shape != buffer.shape for buffer, array in zip(buffers, arrays, strict=False)):
        return None
    for buffer, array in zip(buffers, arrays, strict=False):
        buffer.copy_(torch.from_numpy(array))
    if len(arrays) < len(buffers):
        best.copy_(net.values)
    net.step.fill_(told["step"])
    net.refresh()
    told["history"] = [HistoryPoint.model_validate(point) for point in told["history"]]
    return Progress(**told)


def _read(path: Path, identity: str) -> tuple[dict[str, Any], list[Any]] | None:
    import numpy as np

    try:
        with path.open("rb") as f:
            header: dict[str, Any] = json.loads(np.load(f, allow_pickle=False).tobytes())
            if header["identity"] != identity:
                return None
            arrays = [np.load(f, allow_pickle=False) for _ in range(int(header["arrays"]))]
            end = np.load(f, allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return (header["progress"], arrays) if end.tolist() == [len(arrays)] else None
