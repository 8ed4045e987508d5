"""Weights and paused trainings on disk: arrays and a JSON header, no pickles."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import StudyError

HEADER = "header"


def save_weights(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write weights (.npz) atomically.

    Parameters
    ----------
    header
        What the network is and where it comes from; JSON.
    arrays
        ``w0``, ``b0``, ``w1``, ... (weights [outputs, inputs] of each layer, biases), ``mean`` and ``std``.
    """
    import numpy as np

    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{HEADER: text, **arrays})
    atomic.write(path, buffer.getvalue())


def load_weights(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read header and arrays of weights.

    Raises
    ------
    StudyError
        If the file is not there or is no weights of this trainer.
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header: dict[str, Any] = json.loads(arrays.pop(HEADER).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"{path} holds no weights of trainer mlp: {error}", "Train the candidate again."
        ) from error
    return header, arrays


def save_state(path: Path, header: Mapping[str, Any], arrays: list[Any]) -> None:
    """Leave a paused training: whole or not at all, but not forced to the disk; without it training starts anew."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as f:
            np.save(f, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
            for array in arrays:
                np.save(f, array)
            np.save(f, np.array([len(arrays)]))  # a file cut short lacks it
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_state(path: Path, count: int, identity: str) -> tuple[dict[str, Any], list[Any]] | None:
    """Read a paused training; None without one, or when the file is torn or of another training.

    Parameters
    ----------
    count
        Arrays that it has at most.
    identity
        What its header must have as `identity`.
    """
    import numpy as np

    try:
        with path.open("rb") as f:
            header: dict[str, Any] = json.loads(np.load(f, allow_pickle=False).tobytes())
            if header.get("identity") != identity:
                return None
            arrays = [np.load(f, allow_pickle=False) for _ in range(min(int(header["arrays"]), count))]
            end = np.load(f, allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return (header, arrays) if end.tolist() == [len(arrays)] else None
