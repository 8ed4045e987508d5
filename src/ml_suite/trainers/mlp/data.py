"""The samples of a worker, read once: normalised inputs and targets of each part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study.arrays import Arrays
from ml_suite.trainers.mlp.protocol import Setup


@dataclass(frozen=True)
class Part:
    """Samples of one part; torch tensors of float32."""

    x: Any
    """[samples, inputs], normalised."""
    y: Any
    """[samples, targets]"""

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Data:
    """All parts, and how the inputs were normalised."""

    parts: dict[str, Part]
    inputs: int
    outputs: int
    mean: Any
    """NumPy array [inputs] of float32; None when the inputs are as they were given."""
    std: Any
    spread: tuple[float, float]
    """Smallest and largest target that is trained on."""
    digest: str
    """Of the members of all parts and the normalisation, hexadecimal."""


def load(setup: Setup, device: str) -> Data:
    """Read the arrays and take the members of each part.

    Raises
    ------
    StudyError
        If a file is missing, is not what the study was planned with, or has values that are not finite.
    """
    import numpy as np
    import torch

    x, y = table(setup.arrays)
    mean, std = normalisation(setup.normalisation, x.shape[1])
    parts, digest = {}, hashlib.sha256(setup.arrays.sha256.encode())
    for array in (mean, std):
        digest.update(b"" if array is None else array.tobytes())
    for name, path in setup.members.items():
        chosen = members(name, path, len(x))
        digest.update(name.encode() + chosen.tobytes())
        some, wanted = normalised(x[chosen], mean, std), np.ascontiguousarray(y[chosen])
        if not np.isfinite(wanted).all():
            raise StudyError(f"a target of {name} is not finite", "Clean the data.")
        parts[name] = Part(torch.from_numpy(some).to(device), torch.from_numpy(wanted).to(device))
    for name in ("training", "validation"):
        if name not in parts:
            raise StudyError(f"no samples for {name} are named", "Plan the study again.")
    trained = parts["training"].y
    spread = (float(trained.min()), float(trained.max()))
    return Data(parts, x.shape[1], y.shape[1], mean, std, spread, digest.hexdigest())


def table(arrays: Arrays) -> tuple[Any, Any]:
    """Read inputs and targets [samples, columns] as float32; see `load`."""
    import zipfile

    import numpy as np

    found = []
    try:
        with np.load(arrays.path, allow_pickle=False) as stored:
            for name in (arrays.inputs, arrays.targets):
                if name not in stored.files:
                    names = ", ".join(stored.files)
                    raise StudyError(f"{arrays.path} has no array {name!r}", f"It has {names}.")
                found.append(np.asarray(stored[name], dtype=np.float32))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"the samples cannot be read from {arrays.path}: {error}", "Make the file again."
        ) from error
    x, y = (a[:, None] if a.ndim == 1 else a for a in found)
    if (len(x), x.shape[1], y.shape[1]) != (arrays.samples, *arrays.shape) or len(y) != len(x):
        raise StudyError(
            f"{arrays.path} has arrays of {x.shape} and {y.shape}, the study was planned with "
            f"{arrays.samples} samples of {arrays.shape[0]} inputs and {arrays.shape[1]} targets",
            "Bring the file back, or plan the study again.",
        )
    return x, y


def members(name: str, path: Path, samples: int) -> Any:
    """Read the sample numbers of a part; see `load`."""
    import numpy as np

    try:
        chosen = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StudyError(
            f"the members of {name} cannot be read from {path}: {error}", "Plan the study again."
        ) from error
    if not len(chosen):
        raise StudyError(f"{name} has no samples", "Choose a larger part of the data.")
    if chosen.min() < 0 or chosen.max() >= samples:
        raise StudyError(
            f"{path} names samples that are not there: the data have {samples}", "Plan the study again."
        )
    return chosen


def normalisation(path: Path | None, inputs: int) -> tuple[Any, Any]:
    """Read mean and standard deviation [inputs] as float32; a constant input is only shifted."""
    import zipfile

    import numpy as np

    if path is None:
        return None, None
    try:
        with np.load(path, allow_pickle=False) as stored:
            mean, std = (np.asarray(stored[name], dtype=np.float32) for name in ("mean", "std"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"the normalisation cannot be read from {path}: {error}", "Plan the study again."
        ) from error
    if mean.shape != (inputs,) or std.shape != (inputs,):
        raise StudyError(
            f"{path} normalises {mean.shape} inputs, the data have {inputs}", "Plan the study again."
        )
    return mean, np.where(std > 0, std, np.float32(1))


def normalised(x: Any, mean: Any, std: Any) -> Any:
    """Inputs [samples, inputs] as the network sees them, in the arithmetic of the exported network."""
    import numpy as np

    some = np.ascontiguousarray(x if mean is None else (x - mean) / std, dtype=np.float32)
    if not np.isfinite(some).all():
        row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(some)))
        raise StudyError(
            f"input {column} of a sample (row {row} of its part) is not finite", "Clean the data."
        )
    return some
