"""The step that makes the demo's real input."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.anemoi

TARGET = "storm1996_6h.nc"


def fetch(repository: Path, python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ML_SUITE_ENVIRONMENT": str(python.parent.parent)}
    command = ["bash", repository / "ci/storm-data.sh", folder]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def inputs(storm_sources: Path, tmp_path: Path) -> Path:
    """Folder with the six files and nothing else."""
    for file in storm_sources.glob("*storm.cdf"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_same_bytes_from_the_same_input(
    repository: Path, anemoi_python: Path, storm_sources: Path, inputs: Path
) -> None:
    done = fetch(repository, anemoi_python, inputs)
    assert done.returncode == 0, done.stderr
    assert "download" not in done.stderr
    assert (inputs / TARGET).read_bytes() == (storm_sources / TARGET).read_bytes()
    assert not list(inputs.glob(".fetch*"))
    before = (inputs / TARGET).stat().st_mtime_ns
    assert "is there" in fetch(repository, anemoi_python, inputs).stderr
    assert (inputs / TARGET).stat().st_mtime_ns == before


def test_a_damaged_file_is_made_again(
    repository: Path, anemoi_python: Path, storm_sources: Path, inputs: Path
) -> None:
    assert fetch(repository, anemoi_python, inputs).returncode == 0
    os.truncate(inputs / TARGET, 1000)
    assert fetch(repository, anemoi_python, inputs).returncode == 0
    assert (inputs / TARGET).read_bytes() == (storm_sources / TARGET).read_bytes()


def test_other_input_is_refused(repository: Path, anemoi_python: Path, inputs: Path) -> None:
    with (inputs / "Tstorm.cdf").open("r+b") as f:
        f.seek(5000)
        f.write(b"x")
    (inputs / "Vstorm.cdf").unlink()
    command = [anemoi_python, repository / "recipes/sources/storm1996.py", inputs, inputs / TARGET]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Tstorm.cdf has sha256" in done.stderr
    assert "Vstorm.cdf is missing" in done.stderr
    assert not (inputs / TARGET).exists()


def test_without_the_environment(repository: Path, tmp_path: Path) -> None:
    done = fetch(repository, tmp_path / "none" / "bin" / "python", tmp_path / "out")
    assert done.returncode == 1
    assert "ci/environment.sh" in done.stderr
