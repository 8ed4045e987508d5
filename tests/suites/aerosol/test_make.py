"""make.py of the aerosol study, as a user or a study file runs it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from parcel.sampling import INPUTS, TARGETS

from tests.suites.aerosol.conftest import SUITE

pytestmark = pytest.mark.anemoi


def _command(python: Path, out: Path, *options: str) -> list[str]:
    return [str(python), str(SUITE / "make.py"), str(out), *options]


def _make(
    python: Path, out: Path, *options: str, threads: int = 2, check: bool = True
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(
        _command(python, out, *options), env=environment, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_the_file_has_what_a_study_and_a_reader_need(anemoi_python, tmp_path):
    out = tmp_path / "new" / "aerosol.npz"
    done = _make(anemoi_python, out, "--samples", "300")
    assert "300 of 300 samples" in done.stdout
    with np.load(out) as data:
        assert data["x"].shape == (300, 16)
        assert data["y"].shape == data["arg"].shape == (300, 4)
        assert data["smax"].shape == data["arg_smax"].shape == data["draw"].shape == (300,)
        assert all(data[name].dtype == np.float32 for name in ("x", "y", "arg", "smax", "arg_smax"))
        assert tuple(data["x_names"]) == INPUTS
        assert tuple(data["y_names"]) == TARGETS
        metadata = json.loads(str(data["metadata"]))
        assert np.isfinite(data["y"]).all()
        assert ((data["y"] >= 0) & (data["y"] <= 1)).all()
        assert (data["smax"] > 0).all()
        assert (data["status"] == 0).all()
        drawn = data["draw"]
    assert (metadata["samples"], metadata["bins"], metadata["seed"]) == (300, 128, 11)
    assert metadata["drawn"] == drawn[-1] + 1
    assert 300 < metadata["drawn"] < 315, "one in a hundred has no maximum of supersaturation and is left out"
    assert (np.diff(drawn) >= 1).all()
    assert [mode["name"] for mode in metadata["modes"]] == [
        "accumulation",
        "aitken",
        "coarse",
        "primary carbon",
    ]
    assert list(out.parent.iterdir()) == [out], "nothing is left beside it"


def test_members_without_a_maximum_are_kept_on_demand_and_said(anemoi_python, tmp_path):
    some, every = tmp_path / "some.npz", tmp_path / "every.npz"
    _make(anemoi_python, some, "--samples", "900", "--bins", "32")
    _make(anemoi_python, every, "--samples", "900", "--bins", "32", "--keep-all")
    with np.load(some) as a, np.load(every) as b:
        good = b["status"] == 0
        assert 0 < np.sum(~good) < 30
        assert (b["status"][~good] == 1).all()
        assert (b["draw"] == np.arange(900)).all()
        count = good.sum()
        for name in ("x", "y", "smax", "arg"):
            assert (a[name][:count] == b[name][good]).all(), name


def test_the_same_options_give_the_same_bytes_on_any_number_of_threads(anemoi_python, tmp_path):
    files = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for threads, file in enumerate(files, start=1):
        _make(anemoi_python, file, "--samples", "500", "--bins", "32", threads=threads)
    assert files[0].read_bytes() == files[1].read_bytes()
    shorter = tmp_path / "shorter.npz"
    _make(anemoi_python, shorter, "--samples", "123", "--bins", "32")
    with np.load(files[0]) as long, np.load(shorter) as short:
        assert (long["y"][:123] == short["y"]).all(), "a larger data set begins with the smaller one"


def test_a_process_that_is_killed_leaves_the_old_file_whole_and_the_next_one_sweeps(anemoi_python, tmp_path):
    out = tmp_path / "aerosol.npz"
    _make(anemoi_python, out, "--samples", "20", "--bins", "16")
    before = out.read_bytes()
    process = subprocess.Popen(_command(anemoi_python, out, "--samples", "2000000"), stdout=subprocess.PIPE)
    working = tmp_path / f".aerosol.npz.{process.pid}"
    deadline = time.monotonic() + 120
    while not (working / "y.npy").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert out.read_bytes() == before
    assert working.exists()
    _make(anemoi_python, out, "--samples", "30", "--bins", "16")
    assert list(tmp_path.iterdir()) == [out]
    with np.load(out) as data:
        assert len(data["x"]) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bins", "30"), "a multiple of 4"),
        (("--samples", "0"), "at least 1"),
        (("--rtol", "2"), "between 0 and 0.1"),
    ],
)
def test_options_that_make_no_sense_are_refused(anemoi_python, tmp_path, options, message):
    done = _make(anemoi_python, tmp_path / "a.npz", *options, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(anemoi_python, tmp_path):
    (tmp_path / "file").write_text("")
    done = _make(anemoi_python, tmp_path / "file" / "a.npz", "--samples", "10", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
