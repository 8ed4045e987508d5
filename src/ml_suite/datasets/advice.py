"""Plain recommendations from a description."""

from __future__ import annotations

from collections.abc import Sequence

from ml_suite.datasets.model import Chunks, Dates, FeedRate, Reading, Size, Variable
from ml_suite.quantities import format_bytes

_ENOUGH_OF_BEST = 0.9
_WASTEFUL = 1.5
_MANY_FILES = 100_000
_SMALL_FILE = 1 << 20
_PREFETCH = 2
"""Batches that each loader worker holds ready, anemoi-training's default."""


def recommended_workers(feed: Sequence[FeedRate]) -> int | None:
    """Fewest workers that reach nine tenths of the best rate; at least 1, which anemoi-training needs."""
    usable = [rate for rate in feed if rate.workers > 0]
    if not usable:
        return None
    best = max(rate.warm for rate in usable)
    return min(rate.workers for rate in usable if rate.warm >= _ENOUGH_OF_BEST * best)


def advise(
    size: Size,
    dates: Dates,
    chunks: Chunks,
    variables: Sequence[Variable],
    reading: Reading,
    feed: Sequence[FeedRate],
    need: float | None = None,
) -> list[str]:
    """One sentence per finding, the most important first.

    Parameters
    ----------
    need
        Samples per second that the training takes; None when it is not known.
    """
    return [
        *_samples(dates, reading),
        *_feeding(reading, feed, need),
        *_chunking(size, chunks, reading),
        *_nans(variables),
    ]


def _samples(dates: Dates, reading: Reading) -> list[str]:
    window = reading.inputs + reading.outputs
    if not reading.samples:
        return [f"No sample: nowhere are {window} consecutive dates without a gap."]
    if lost := reading.windows - reading.samples:
        return [
            f"{len(dates.missing)} missing dates cost {lost} of {reading.windows} samples of {window} dates."
        ]
    return []


def _feeding(reading: Reading, feed: Sequence[FeedRate], need: float | None) -> list[str]:
    workers = recommended_workers(feed)
    if workers is None:
        return []
    chosen = next(rate for rate in feed if rate.workers == workers)
    slowest = min(chosen.warm, chosen.cold or chosen.warm)
    memory = format_bytes(workers * _PREFETCH * reading.batch_bytes)
    said = [f"num_workers: {workers} delivers {chosen.warm:.0f} samples/s; its queue holds {memory}."]
    if need is None:
        said.append(
            f"Enough for a training that spends at least {1000 / slowest:.2g} ms on a sample "
            f"({1000 * reading.batch / slowest:.2g} ms on a batch of {reading.batch}); "
            "with --need RATE this says yes or no."
        )
    elif slowest >= need:
        said.append(f"Enough: the training takes {need:g} samples/s, also cold files give {slowest:.0f}.")
    elif chosen.warm >= need:
        said.append(
            f"Enough once the files are in memory; the first epoch is limited to {slowest:.0f} samples/s."
        )
    else:
        said.append(
            f"Not enough: the training takes {need:g} samples/s and the loader gives {chosen.warm:.0f}. "
            "Give it more cores, or a faster file system."
        )
    return said


def _chunking(size: Size, chunks: Chunks, reading: Reading) -> list[str]:
    if reading.amplification > _WASTEFUL:
        return [
            f"Chunks of {chunks.shape[0]} dates make every sample read {reading.amplification:.1f} times what it "
            "needs: set output.chunking.dates: 1 in the recipe, or copy with anemoi-datasets copy --rechunk."
        ]
    if size.files > _MANY_FILES and chunks.mean_file_bytes < _SMALL_FILE:
        return [
            f"{size.files} files of {format_bytes(chunks.mean_file_bytes)} are hard on a shared file system and an "
            "object store: larger chunks move faster."
        ]
    return ["The chunks fit the reading: a sample reads about what it needs."]


def _nans(variables: Sequence[Variable]) -> list[str]:
    holes = [variable.name for variable in variables if variable.nans]
    if not holes:
        return []
    return [
        f"NaNs outside the missing dates in {', '.join(holes)}: impute them in the training configuration."
    ]
