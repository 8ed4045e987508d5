"""Measure how fast a dataset feeds a training.

Samples are read as anemoi-training's data loader reads them: ``open_dataset``, windows in random order, the axes
rearranged, batches collated in loader processes that hold two batches ready each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from ml_suite.datasets.model import FeedRate

_SEED = 0
_EVICTED = 4096
"""Windows whose files are put out of the page cache before a cold measurement."""
_PREFETCH = 2


def measure(
    path: Path, starts: Sequence[int], window: int, batch: int, workers: Sequence[int], seconds: float
) -> list[FeedRate]:
    """Measure every number of workers, cold and then warm, SECONDS each at most.

    Parameters
    ----------
    starts
        First dates of the windows that may be read.
    """
    import numpy as np

    order = [int(s) for s in np.random.default_rng(_SEED).permutation(np.asarray(starts))]
    return [_measure(path, order, window, batch, n, seconds) for n in workers]


def _measure(path: Path, order: list[int], window: int, batch: int, workers: int, seconds: float) -> FeedRate:
    evicted = evict(path, order[:_EVICTED], window)
    first, cold_samples, cold_seconds = _read(path, order, window, batch, workers, seconds, once=True)
    known = order[: max(batch, cold_samples)]
    _, samples, elapsed = _read(path, known, window, batch, workers, seconds, once=False)
    return FeedRate(
        workers=workers,
        cold=cold_samples / cold_seconds if evicted and cold_samples else None,
        warm=samples / elapsed,
        first_batch_seconds=first,
        samples=samples,
    )


def _read(
    path: Path, order: list[int], window: int, batch: int, workers: int, seconds: float, once: bool
) -> tuple[float, int, float]:
    """Read until the windows or the time are used up.

    Returns
    -------
    Seconds to the first batch, samples, and the seconds that these took. The first batch, which waits for the workers
    to start, is counted only when it is the only one.
    """
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        _windows(path, order, window, once),
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
    )
    begun = time.perf_counter()
    batches: Iterator[Any] = iter(loader)
    alone = len(next(batches))
    start = time.perf_counter()
    samples = 0
    for item in batches:
        samples += len(item)
        if time.perf_counter() - start >= seconds:
            break
    end = time.perf_counter()
    return start - begun, samples or alone, end - (start if samples else begun)


def _windows(path: Path, order: list[int], window: int, once: bool) -> Any:
    """A torch dataset that yields one window after the other; each worker takes its share of the order."""
    import torch
    from anemoi.datasets import open_dataset
    from torch.utils.data import IterableDataset, get_worker_info

    # opened before the workers are forked, as anemoi-training does; a loader process may not start the process that
    # open_dataset starts
    data = open_dataset(str(path))

    class Windows(IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            info = get_worker_info()
            mine = order[info.id :: info.num_workers] if info else order
            for start in mine if once else cycle(mine or order):
                sample = data[start : start + window]
                yield torch.from_numpy(sample.transpose(0, 2, 3, 1))

    return Windows()


def evict(path: Path, starts: Sequence[int], window: int) -> bool:
    """Put the files of these windows out of the page cache; False where the system cannot."""
    from ml_suite.datasets.store import open_group

    if not hasattr(os, "posix_fadvise"):
        return False
    data = open_group(path)["data"]
    touched = {str(row // data.chunks[0]) for start in starts for row in range(start, start + window)}
    for entry in (path / "data").iterdir():
        if entry.name.partition(".")[0] in touched:
            with entry.open("rb") as f:
                os.fsync(f.fileno())  # what is not yet written cannot be dropped
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True
