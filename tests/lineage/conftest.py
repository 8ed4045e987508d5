"""One suite for all tests of this folder: real data, a real training, real services."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_suite.services import lifecycle
from tests.lineage.whole import DATASET_JOBS, LAST_JOBS, Suite, deploy, new_repository


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of running embedded services."""
    home = tmp_path_factory.mktemp("home")
    try:
        lifecycle.up(home)
        yield home
    finally:
        lifecycle.down(home)


@pytest.fixture(scope="session")
def trained(
    services: Path, repository: Path, anemoi_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Suite:
    """A suite whose training is done and delivered; nothing is evaluated."""
    done = subprocess.run(
        ["bash", repository / "ci/storm-data.sh"],
        env={**os.environ, "ML_SUITE_ENVIRONMENT": str(anemoi_python.parent.parent)},
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    source = Path(next(word for word in done.stderr.split() if word.endswith("storm1996_6h.nc")))
    (services / "sources").mkdir()
    (services / "sources" / source.name).symlink_to(source)
    clone = new_repository(tmp_path_factory.mktemp("git") / "storm", repository)
    suite = deploy(services, clone, repository / "src", environment=str(anemoi_python.parent.parent))
    suite.succeed("setup")
    for words in DATASET_JOBS:
        suite.succeed(f"dataset {words}")
    suite.succeed("train")
    suite.succeed("deliver")
    return suite


@pytest.fixture(scope="session")
def finished(trained: Suite) -> Suite:
    """The same suite, evaluated, registered and archived."""
    for words in LAST_JOBS:
        trained.succeed(words)
    return trained
