"""The storm dataset, built once, and a two-step study on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.conftest import finished, laid_out, loaded, new_workshop, recipe, storm_sources
from tests.datasets.workshop import Workshop
from tests.trainers.storm import Storm

__all__ = ["finished", "laid_out", "loaded", "new_workshop", "recipe", "storm_sources"]


@pytest.fixture(scope="session")
def storm(
    finished: Workshop, repository: Path, anemoi_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Storm:
    """A deployment whose dataset has arrived."""
    made = Storm(tmp_path_factory.mktemp("storm"), anemoi_python, repository)
    made.deploy()
    made.dataset.parent.mkdir(parents=True)
    made.dataset.symlink_to(finished.store)
    made.dataset.with_name(finished.manifest.name).symlink_to(finished.manifest)
    return made


@pytest.fixture(scope="session")
def step1(storm: Storm) -> Storm:
    """The same deployment after step 1, in one shard."""
    storm.succeed("study", "plan")
    storm.succeed("study", "shard", "--shard", "0")
    return storm
