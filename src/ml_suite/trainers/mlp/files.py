"""Weights on disk: arrays and a JSON header, no pickles."""

from __future__ import annotations

import io
import json
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
