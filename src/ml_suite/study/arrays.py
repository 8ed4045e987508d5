"""Studies of a table of samples: NumPy arrays instead of a dataset with dates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ml_suite.study.contract import Document, SearchPlan, Specification


class Arrays(Document):
    """A table of samples in one NumPy file (.npz)."""

    path: Path
    inputs: str
    """Name of the array [samples, inputs]."""
    targets: str
    """Name of the array [samples, targets]."""
    sha256: str
    """Of the file, hexadecimal."""
    samples: int
    shape: tuple[int, int]
    """Inputs and targets of one sample."""


class Members(Document):
    """Which samples a part of the data has."""

    count: int
    sha256: str
    """Of the sorted sample numbers as 64-bit little-endian integers, hexadecimal."""
    path: Path | None = None
    """NumPy file with the sample numbers, relative to the study's folder."""


class ArrayPlan(SearchPlan):
    """The frozen study of a table of samples; the members of each part lie beside the plan."""

    arrays: Arrays
    members: dict[str, Members]
    """`training`, `subset`, `validation` and `test`."""
    normalisation: Literal["training", "subset", "none"]
    """Whose mean and standard deviation the inputs are given in."""
    precision: dict[str, Literal["fp32", "bf16"]]
    """Of the arithmetic in `step1` and `step2`."""
    settings: dict[str, Any]
    """Settings of the trainer that are the same for all trials."""


class ArraySpec(Specification):
    """trial.json of a table of samples."""

    arrays: Arrays
    members: dict[str, Path]
    """Sample numbers (.npy) of `training`, `validation` and `test`."""
    normalisation: Path | None = None
    """NumPy file (.npz) with `mean` and `std` of the inputs; None: they are given as they are."""
    precision: Literal["fp32", "bf16"] = "fp32"
