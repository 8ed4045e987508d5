"""The naming convention of datasets: the same verdict as Anemoi's own code, with the part that is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ml_suite.config.naming import DatasetName, parse

GOOD = {
    "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1": DatasetName(1979, 2024, ("6h",)),
    "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1": DatasetName(1996, 1996, ("6h",)),
    "aifs-od-an-oper-0001-mars-o96-1979-2022-1h-v5-with-more": DatasetName(1979, 2022, ("1h",)),
    "aifs-od-fc-oper-0001-mars-o96-2016-2025-18h-1h-v3": DatasetName(2016, 2025, ("18h", "1h")),
    "dop-ea-ofb-0001-1979-2023-v2-combined-aircraft": DatasetName(1979, 2023, ()),
    "a-b-2000-2001-c-n320-1990-1991-30m-v1": DatasetName(1990, 1991, ("30m",)),
}
BAD = {
    "Aifs-ea-an-mars-o96-1979-2024-6h-v1": "not 'A'",
    "aifs_ea-an-mars-o96-1979-2024-6h-v1": "not '_'",
    "aifs--mars-o96-1979-2024-6h-v1": "empty part",
    "aifs-ea-mars-o96-1979-6h-v1": "two years in a row are missing",
    "aifs-ea-mars-o96-1979-2024-6h": "the version is missing",
    "aifs-ea-mars-o96-1979-2024-6hr-v1": "'6hr' is no frequency",
    "aifs-ea-mars-o96-1979-2024-6h-1h-1h-v1": "at most two frequencies",
    "aifs-ea-mars-x96-1979-2024-6h-v1": "'x96' is no resolution",
    "aifs-o96-1979-2024-6h-v1": "purpose-content-source-resolution, not 'aifs-o96'",
    "storm": "two years",
    "": "empty part",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_names_are_taken_apart(name: str) -> None:
    assert parse(name) == GOOD[name]


@pytest.mark.parametrize("name", BAD)
def test_bad_names_say_which_part(name: str) -> None:
    with pytest.raises(ValueError, match=BAD[name]):
        parse(name)


def test_years_run_forwards() -> None:
    with pytest.raises(ValueError, match="ends in 1979, before it starts in 2024"):
        parse("aifs-ea-an-mars-o96-2024-1979-6h-v1")


@pytest.mark.anemoi
def test_anemoi_agrees(anemoi_python: Path) -> None:
    names = [name for name in [*GOOD, *BAD] if name]
    code = (
        "import json, sys\n"
        "from anemoi.datasets.create.naming import check_dataset_name\n"
        "print(json.dumps([not check_dataset_name(name) for name in json.loads(sys.argv[1])]))"
    )
    done = subprocess.run(
        [anemoi_python, "-c", code, json.dumps(names)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert dict(zip(names, json.loads(done.stdout), strict=True)) == {name: name in GOOD for name in names}
