"""What one must know of a dataset before training on it; the JSON of ``ml-suite dataset describe``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Unknown keys are errors and nothing changes after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Size(Model):
    """What the dataset takes."""

    files: int
    disk_bytes: int
    """Sum of the files' lengths."""
    data_bytes: int
    """Of the data array alone, compressed."""
    uncompressed_bytes: int
    """Of the data array alone."""


class Dates(Model):
    """The time axis."""

    start: datetime
    end: datetime
    frequency: str
    count: int
    missing: list[datetime]
    """Dates that the source does not have."""
    statistics_start: str | None = None
    statistics_end: str | None = None


class Variable(Model):
    """One variable over the dates that are not missing."""

    name: str
    nans: int
    """Values that are NaN in the scanned dates."""
    nan_dates: int
    """Scanned dates with at least one NaN."""
    constant: bool
    """The same at all dates."""
    mean: float
    stdev: float
    minimum: float
    maximum: float


class Shape(Model):
    """Dimensions of the data array."""

    dates: int
    variables: int
    ensembles: int
    values: int
    dtype: str


class Chunks(Model):
    """How the data array is cut into files."""

    shape: list[int]
    count: int
    bytes: int
    """Of one chunk, uncompressed."""
    mean_file_bytes: int
    compressor: str | None


class Reading(Model):
    """What one training sample costs to read: a window of consecutive dates, all variables and points."""

    inputs: int
    outputs: int
    batch: int
    sample_bytes: int
    """Uncompressed."""
    batch_bytes: int
    files_per_sample: float
    """Mean over all windows."""
    read_bytes_per_sample: float
    """Uncompressed bytes of the chunks that a window touches, mean over all windows."""
    amplification: float
    """Bytes read over bytes needed: 1 is best."""
    windows: int
    """Samples if no date were missing."""
    samples: int
    """Samples without a missing date."""


class FeedRate(Model):
    """Samples per second that the data loader delivers."""

    workers: int
    """Loader processes; 0 reads in the training process."""
    cold: float | None
    """With the files out of the page cache; None when this could not be measured."""
    warm: float
    """With the same files in the page cache."""
    first_batch_seconds: float
    """From the start of the loader to its first batch, cold."""
    samples: int
    """Samples that were read for the figure `warm`."""


class Description(Model):
    """Everything."""

    path: Path
    name: str
    uuid: str
    description: str | None
    licence: str | None
    size: Size
    dates: Dates
    shape: Shape
    chunks: Chunks
    variables: list[Variable]
    scanned_dates: int
    """Dates whose values were looked at for NaNs."""
    reading: Reading
    feed: list[FeedRate]
    cpus: int
    """Processors that the measuring process may use."""
    recommended_workers: int | None
    advice: list[str]
