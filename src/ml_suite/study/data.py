"""Read what a study must know of a dataset: identity, content and dates."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_suite.errors import StudyError
from ml_suite.quantities import duration
from ml_suite.study.contract import DatasetRef
from ml_suite.study.periods import Calendar


class _Attributes(BaseModel):
    """Anemoi's attributes of a finished dataset."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uuid: str
    start_date: datetime
    end_date: datetime
    frequency: str
    missing_dates: list[datetime] = []


def read(path: Path) -> tuple[DatasetRef, Calendar]:
    """Describe a finished dataset; only its attributes and its manifest are read.

    Raises
    ------
    StudyError
        If it is missing, unfinished or without a manifest.
    """
    again = "Run the dataset's tasks: transfer brings it to this host."
    try:
        found = _Attributes.model_validate(_attributes(path))
    except (OSError, json.JSONDecodeError) as error:
        raise StudyError(f"there is no dataset at {path}", again) from error
    except ValidationError as error:
        what = error.errors()[0]["loc"][0]
        raise StudyError(f"the dataset {path} is not finished: it has no {what}", again) from error
    manifest = path.with_name(f"{path.name}.manifest.jsonl")
    if not manifest.is_file():
        raise StudyError(f"the dataset has no manifest {manifest}", again)
    reference = DatasetRef(
        name=path.stem,
        path=path,
        uuid=found.uuid,
        manifest=hashlib.sha256(manifest.read_bytes()).hexdigest(),
    )
    calendar = Calendar(
        found.start_date, found.end_date, duration(found.frequency), frozenset(found.missing_dates)
    )
    return reference, calendar


def _attributes(path: Path) -> Any:
    """Attributes of a zarr group of format 2 or 3."""
    if (path / "zarr.json").exists():
        return json.loads((path / "zarr.json").read_text()).get("attributes", {})
    return json.loads((path / ".zattrs").read_text())
