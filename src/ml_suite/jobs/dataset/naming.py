"""The catalogue's naming convention, as anemoi-datasets' own code has it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from ml_suite.datasets.store import open_group
from ml_suite.errors import ConfigError


def require_valid_name(name: str, **facts: Any) -> None:
    """Refuse a name that anemoi-datasets warns about.

    Parameters
    ----------
    facts
        What the name has to agree with: resolution, start_date, end_date, frequency, layout.

    Raises
    ------
    ConfigError
        With the messages of anemoi-datasets.
    """
    from anemoi.datasets.create.naming import check_dataset_name

    if messages := check_dataset_name(name, **facts):
        raise ConfigError(
            f"the dataset's name {name!r} does not follow the convention: {' '.join(messages)}",
            "Rename the recipe: purpose-content-source-resolution-YYYY-YYYY-6h-v1.yaml",
        )


def require_name_of_store(path: Path) -> None:
    """Refuse a store whose name disagrees with its resolution, dates or frequency.

    Raises
    ------
    ConfigError
        With the messages of anemoi-datasets.
    """
    from anemoi.utils.dates import frequency_to_timedelta

    attributes = open_group(path).attrs
    layout = attributes.get("recipe", {}).get("output", {}).get("layout", "gridded")
    facts: dict[str, Any] = {"layout": layout, "resolution": attributes.get("resolution")}
    for key in ("start_date", "end_date"):
        if text := attributes.get(key):
            facts[key] = datetime.fromisoformat(text)
    if layout == "gridded" and (frequency := attributes.get("frequency")):
        facts["frequency"] = frequency_to_timedelta(frequency)
    require_valid_name(path.stem, **facts)
