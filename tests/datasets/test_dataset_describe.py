"""`dataset describe` against numbers computed in another way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_suite.datasets.windows import mean_chunks_touched, usable_starts
from tests.datasets.workshop import Workshop

COMPUTED = """
import json, sys, numpy as np, zarr
from pathlib import Path
from anemoi.datasets import open_dataset
from anemoi.training.data.usable_indices import get_usable_indices
path, inputs, outputs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ds = open_dataset(path)
z = zarr.open_group(path, mode="r")
x = z["data"][:]
files = [p for p in Path(path).rglob("*") if p.is_file()]
rows = [i for i in range(len(x)) if i not in ds.missing]
offsets = np.arange(inputs + outputs)
window, length = inputs + outputs, z["data"].chunks[0]
opened = [len({r // length for r in range(s, s + window)}) for s in range(len(x) - window + 1)]
sample = np.stack([ds[0:window]])
print(json.dumps({
    "files": len(files), "disk_bytes": sum(p.stat().st_size for p in files), "uncompressed_bytes": x.nbytes,
    "missing": sorted(str(ds.dates[i]) for i in ds.missing), "count": len(ds.dates),
    "variables": ds.variables, "mean": ds.statistics["mean"].tolist(),
    "nans": np.isnan(x[rows]).sum(axis=(0, 2, 3)).tolist(),
    "nan_dates": np.isnan(x[rows]).any(axis=(2, 3)).sum(axis=0).tolist(),
    "samples": len(get_usable_indices(ds.missing, len(ds.dates), offsets)), "windows": len(opened),
    "opened": float(np.mean(opened)), "sample_bytes": sample.nbytes,
}))
"""


def describe(shop_python: Path, store: Path | str, home: Path, *options: str) -> tuple[int, str, str]:
    """Run ``ml-suite dataset describe``."""
    environment = {
        **os.environ,
        "ML_SUITE_HOME": str(home),
        "ML_SUITE_ENVIRONMENT": str(shop_python.parent.parent),
    }
    program = [
        sys.executable,
        "-c",
        "from ml_suite.cli import main; main()",
        "dataset",
        "describe",
        str(store),
    ]
    done = subprocess.run([*program, *options], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def check_numbers(python: Path, store: Path, home: Path, inputs: int, outputs: int) -> dict[str, Any]:
    """Compare a description with numpy's and anemoi's numbers; return the description."""
    code, out, error = describe(
        python, store, home, "--json", "--no-feed", f"--inputs={inputs}", f"--outputs={outputs}", "--batch=5"
    )
    assert code == 0, error
    found: dict[str, Any] = json.loads(out)
    done = subprocess.run(
        [python, "-c", COMPUTED, store, str(inputs), str(outputs)], capture_output=True, text=True, check=True
    )
    computed = json.loads(done.stdout.splitlines()[-1])
    for key in ("files", "disk_bytes", "uncompressed_bytes"):
        assert found["size"][key] == computed[key], key
    assert found["dates"]["missing"] == computed["missing"]
    assert found["dates"]["count"] == computed["count"]
    for key in ("mean", "nans", "nan_dates"):
        assert [v[key] for v in found["variables"]] == computed[key], key
    assert [v["name"] for v in found["variables"]] == computed["variables"]
    reading = found["reading"]
    for key in ("samples", "windows", "sample_bytes"):
        assert reading[key] == computed[key], key
    assert reading["batch_bytes"] == 5 * computed["sample_bytes"]
    assert reading["files_per_sample"] == pytest.approx(computed["opened"])
    chunk = found["chunks"]["shape"][0]
    assert reading["amplification"] == pytest.approx(computed["opened"] * chunk / (inputs + outputs))
    return found


@pytest.mark.anemoi
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 1), (2, 12)])
def test_the_storm(finished: Workshop, tmp_path: Path, inputs: int, outputs: int) -> None:
    found = check_numbers(finished.python, finished.store, tmp_path, inputs, outputs)
    assert found["feed"] == []
    assert found["recommended_workers"] is None
    if (inputs, outputs) == (2, 1):
        assert found["reading"]["samples"] == 55
        assert found["advice"][0] == "3 missing dates cost 7 of 62 samples of 3 dates."


@pytest.mark.anemoi
def test_chunks_that_waste_and_nans(finished: Workshop, tmp_path: Path) -> None:
    shop = finished.copy(tmp_path)
    rechunked = tmp_path / "rechunked.zarr"
    program = """
import sys, zarr, numpy as np
a, b = zarr.open_group(sys.argv[1], mode="r"), sys.argv[2]
zarr.copy_store(a.store, zarr.DirectoryStore(b))
g = zarr.open_group(b, mode="r+")
x = a["data"][:]
x[5:7, 3, :, :10] = np.nan
g.create_dataset("data", data=x, chunks=(8, 13, 1, 964), overwrite=True)
g["data"].attrs.update(dict(a["data"].attrs))
"""
    subprocess.run([shop.python, "-c", program, shop.store, rechunked], check=True)
    found = check_numbers(shop.python, rechunked, tmp_path, 2, 1)
    assert found["reading"]["amplification"] > 2
    assert found["variables"][3]["nans"] == 20
    assert found["variables"][3]["nan_dates"] == 2
    advice = " ".join(found["advice"])
    assert "Chunks of 8 dates" in advice
    assert f"NaNs outside the missing dates in {found['variables'][3]['name']}" in advice


@pytest.mark.anemoi
def test_the_feed_rate(finished: Workshop, tmp_path: Path) -> None:
    code, out, error = describe(
        finished.python, finished.store, tmp_path, "--json", "--workers=0", "--workers=2", "--seconds=0.5"
    )
    assert code == 0, error
    found = json.loads(out)
    assert [rate["workers"] for rate in found["feed"]] == [0, 2]
    assert all(rate["warm"] > 10 and rate["cold"] > 1 and rate["samples"] > 4 for rate in found["feed"])
    assert found["recommended_workers"] == 2
    code, out, error = describe(
        finished.python, finished.store, tmp_path, "--workers=1", "--seconds=0.2", "--need=1e9"
    )
    assert code == 0, error
    assert "Not enough" in out
    assert out.rstrip().splitlines()[-1].startswith("Next: ml-suite dataset status ")


@pytest.mark.anemoi
def test_what_cannot_be_described(laid_out: Workshop, tmp_path: Path) -> None:
    cases = {
        tmp_path / "none.zarr": "does not exist",
        tmp_path: "is not a zarr store",
        laid_out.store: "is not finished: 0% of its groups are loaded",
    }
    for path, message in cases.items():
        code, out, error = describe(laid_out.python, path, tmp_path / "home", "--json")
        assert code == 1
        assert out == ""
        assert message in error
    code, _, error = describe(Path("/nowhere/bin/python"), laid_out.store, tmp_path / "home")
    assert code == 2
    assert "ci/environment.sh" in error


def test_windows_against_a_brute_force() -> None:
    for missing in (set(), {0}, {17, 36, 37}, set(range(64))):
        for window in (1, 2, 3, 14, 64, 65):
            brute = [s for s in range(64 - window + 1) if not missing & set(range(s, s + window))]
            assert usable_starts(64, window, missing) == brute
    for window in (1, 3, 14):
        for length in (1, 5, 8, 100):
            touched = [len({r // length for r in range(s, s + window)}) for s in range(64 - window + 1)]
            assert mean_chunks_touched(64, window, length) == pytest.approx(sum(touched) / len(touched))


@pytest.mark.anemoi
def test_the_status_of_a_build(laid_out: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    shop.succeed("load", "--part", "2/2")
    environment = {
        **os.environ,
        "ML_SUITE_HOME": str(tmp_path),
        "ML_SUITE_ENVIRONMENT": str(shop.python.parent.parent),
    }
    for dataset in (shop.name, str(shop.store)):
        command = [
            sys.executable,
            "-c",
            "from ml_suite.cli import main; main()",
            "dataset",
            "status",
            dataset,
        ]
        done = subprocess.run(
            [*command, "--json"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["registered"] is None
        assert found["build"]["phase"] == "loading"
        assert found["build"]["percent"] == 50
        assert found["build"]["missing_groups"] == [0, 1, 2, 3]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert "loading, 50% of 8 groups, missing: 0, 1, 2, 3" in done.stdout
