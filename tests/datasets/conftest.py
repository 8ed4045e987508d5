"""Deployments of the storm recipe at several stages of their build, and the services that datasets go to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalogue.fixtures import catalogue, s3
from tests.datasets.workshop import NAME, Workshop

__all__ = ["catalogue", "s3"]


@pytest.fixture(scope="session")
def storm_sources(repository: Path, anemoi_python: Path) -> Path:
    """Folder with storm1996_6h.nc, fetched once per machine."""
    done = subprocess.run(
        ["bash", repository / "ci/storm-data.sh"],
        env={**os.environ, "ML_SUITE_ENVIRONMENT": str(anemoi_python.parent.parent)},
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    file = Path(next(word for word in done.stderr.split() if word.endswith("storm1996_6h.nc")))
    return file.parent


@pytest.fixture(scope="session")
def recipe(repository: Path) -> str:
    """Text of the demo's recipe."""
    return (repository / "recipes" / f"{NAME}.yaml").read_text()


@pytest.fixture(scope="session")
def new_workshop(
    repository: Path, anemoi_python: Path, storm_sources: Path, recipe: str
) -> Callable[..., Workshop]:
    """Make a deployment of the storm recipe below a folder."""

    def make(root: Path, name: str = NAME, text: str = recipe, parts: int = 2) -> Workshop:
        shop = Workshop(root, anemoi_python, repository / "src", name)
        shop.work.mkdir(parents=True)
        (shop.work / "sources").mkdir()
        (shop.work / "sources" / "storm1996_6h.nc").symlink_to(storm_sources / "storm1996_6h.nc")
        shop.deploy(text, parts)
        return shop

    return make


@pytest.fixture
def workshop(new_workshop: Callable[..., Workshop], tmp_path: Path) -> Workshop:
    """A deployment of the storm recipe; nothing is built."""
    return new_workshop(tmp_path)


@pytest.fixture(scope="session")
def laid_out(new_workshop: Callable[..., Workshop], tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A deployment whose init is done; copy it before changing it."""
    shop = new_workshop(tmp_path_factory.mktemp("laid_out"))
    shop.succeed("init")
    return shop


@pytest.fixture(scope="session")
def loaded(laid_out: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """All groups loaded without interruption, not finalised; copy it before changing it."""
    shop = laid_out.copy(tmp_path_factory.mktemp("loaded"))
    shop.succeed("load", "--part", "1/1")
    return shop


@pytest.fixture(scope="session")
def finished(loaded: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The dataset of an uninterrupted build; copy it before changing it."""
    shop = loaded.copy(tmp_path_factory.mktemp("finished"))
    shop.succeed("check")
    shop.succeed("finalise")
    return shop
