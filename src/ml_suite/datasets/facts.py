"""Read the facts of a finished dataset from its store."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from ml_suite.datasets.model import Chunks, Dates, Reading, Shape, Size, Variable
from ml_suite.datasets.windows import mean_chunks_touched, usable_starts
from ml_suite.errors import DatasetError

_SCAN_BYTES = 2 << 30
"""Larger datasets are scanned for NaNs at dates spread evenly, up to this size."""


def read_size(path: Path, group: Any) -> Size:
    """Walk the store once."""
    files = whole = data = 0
    prefix = str(path / "data") + os.sep
    for folder, _, names in os.walk(path):
        for name in names:
            length = (Path(folder) / name).stat().st_size
            files, whole = files + 1, whole + length
            if (folder + os.sep).startswith(prefix) and not name.startswith(".z"):
                data += length
    return Size(files=files, disk_bytes=whole, data_bytes=data, uncompressed_bytes=int(group["data"].nbytes))


def read_dates(group: Any) -> Dates:
    """Dates and gaps."""
    import numpy as np

    dates = group["dates"][:].astype("datetime64[s]").astype(datetime)
    attributes = group.attrs
    return Dates(
        start=dates[0],
        end=dates[-1],
        frequency=str(attributes["frequency"]),
        count=len(np.atleast_1d(dates)),
        missing=[datetime.fromisoformat(text) for text in attributes.get("missing_dates", [])],
        statistics_start=attributes.get("statistics_start_date"),
        statistics_end=attributes.get("statistics_end_date"),
    )


def read_shape(path: Path, group: Any) -> Shape:
    """Dimensions of the data array.

    Raises
    ------
    DatasetError
        If they are not those of a gridded dataset.
    """
    data = group["data"]
    if len(data.shape) != 4:
        raise DatasetError(
            f"{path} has {len(data.shape)} dimensions: only gridded datasets (dates, variables, ensembles, values) "
            "can be described"
        )
    dates, variables, ensembles, values = data.shape
    return Shape(dates=dates, variables=variables, ensembles=ensembles, values=values, dtype=str(data.dtype))


def read_chunks(group: Any, size: Size) -> Chunks:
    """Chunks of the data array."""
    import math

    data = group["data"]
    count = math.prod(data.cdata_shape)
    return Chunks(
        shape=list(data.chunks),
        count=count,
        bytes=math.prod(data.chunks) * data.dtype.itemsize,
        mean_file_bytes=size.data_bytes // count,
        compressor=getattr(data.compressor, "cname", None) or getattr(data.compressor, "codec_id", None),
    )


def missing_rows(group: Any) -> set[int]:
    """Positions of the missing dates on the first axis."""
    import numpy as np

    dates = group["dates"][:].astype("datetime64[s]")
    missing = np.array(group.attrs.get("missing_dates", []), dtype="datetime64[s]")
    return {int(row) for row in np.nonzero(np.isin(dates, missing))[0]}


def read_reading(group: Any, shape: Shape, inputs: int, outputs: int, batch: int) -> Reading:
    """What a window of INPUTS + OUTPUTS dates costs to read.

    Raises
    ------
    DatasetError
        If the window is longer than the dataset.
    """
    import math

    data = group["data"]
    window = inputs + outputs
    if window > shape.dates:
        raise DatasetError(f"a window of {window} dates is longer than the dataset ({shape.dates} dates)")
    date_bytes = math.prod(data.shape[1:]) * data.dtype.itemsize
    touched = mean_chunks_touched(shape.dates, window, data.chunks[0])
    read = touched * data.chunks[0] * date_bytes
    return Reading(
        inputs=inputs,
        outputs=outputs,
        batch=batch,
        sample_bytes=window * date_bytes,
        batch_bytes=batch * window * date_bytes,
        files_per_sample=touched * math.prod(data.cdata_shape[1:]),
        read_bytes_per_sample=read,
        amplification=read / (window * date_bytes),
        windows=shape.dates - window + 1,
        samples=len(usable_starts(shape.dates, window, missing_rows(group))),
    )


def read_variables(group: Any) -> tuple[list[Variable], int]:
    """NaNs, constancy and statistics of every variable, and the number of dates that were scanned for NaNs."""
    import numpy as np

    data = group["data"]
    names: list[str] = list(group.attrs["variables"])
    rows = np.array([row for row in range(data.shape[0]) if row not in missing_rows(group)])
    most = max(1, _SCAN_BYTES * data.shape[0] // max(1, data.nbytes))
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
    nans = np.zeros(len(names), dtype=np.int64)
    nan_dates = np.zeros(len(names), dtype=np.int64)
    for row in rows:
        # shape (variables,): NaNs of one date
        found = np.isnan(data[int(row)]).sum(axis=(1, 2))
        nans += found
        nan_dates += found > 0
    constant = set(group.attrs.get("constant_fields", []))
    statistics = {name: group[name][:] for name in ("mean", "stdev", "minimum", "maximum")}
    return [
        Variable(
            name=name,
            nans=int(nans[i]),
            nan_dates=int(nan_dates[i]),
            constant=name in constant,
            **{key: float(values[i]) for key, values in statistics.items()},
        )
        for i, name in enumerate(names)
    ], len(rows)
