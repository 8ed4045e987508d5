"""A suite's jobs on the real storm data, run as ecFlow would run them but without a server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml_suite.config.resolved import GitSource, HostPaths, Resolved

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"


@dataclass(frozen=True)
class Workshop:
    """One deployment on the host ``local``, and its dataset jobs."""

    root: Path
    python: Path
    library: Path
    name: str = NAME

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def store(self) -> Path:
        return self.work / "build" / f"{self.name}.zarr"

    @property
    def manifest(self) -> Path:
        return self.store.with_name(f"{self.store.name}.manifest.jsonl")

    @property
    def connections(self) -> Path:
        return self.root / "connections.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ML_SUITE_RESOLVED": str(self.root / "suite" / "resolved.json"),
            "ML_SUITE_HOST": "local",
            "ML_SUITE_REASON": str(self.root / "reason"),
            "PYTHONPATH": str(self.library),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }

    def deploy(self, recipe: str, parts: int = 2) -> None:
        """Write the recipe and the resolved deployment as ``ml-suite deploy`` does."""
        file = self.root / "suite" / "recipe" / f"{self.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(recipe)
        source = GitSource(
            path=f"recipes/{self.name}.yaml", sha256=hashlib.sha256(recipe.encode()).hexdigest()
        )
        resolved = self.root / "suite" / "resolved.json"
        resolved.write_text(self._resolved(source, parts).model_dump_json())

    def _resolved(self, source: GitSource, parts: int) -> Resolved:
        return Resolved.model_validate(
            {
                "deployment": {
                    "suite": "demo",
                    "dataset": {"recipe": source.path, "parts": parts, "store": "s3://ml-datasets"},
                    "training": {"config": "training/storm.yaml", "resources": {"walltime": "10m"}},
                    "hosts": {"local": {}},
                    "outputs": {"checkpoints": "s3://ml-checkpoints/demo"},
                },
                "files": self.root / "suite",
                "recipe": source,
                "config": None,
                "hosts": {"local": HostPaths(work=self.work, environment=self.python.parent.parent)},
                "connections": self.connections,
                "source": source,
            }
        )

    def start(self, *arguments: str, **more: object) -> subprocess.Popen[str]:
        """Start one dataset job."""
        return subprocess.Popen(
            [self.python, "-m", "ml_suite.jobs", "dataset", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **more,  # type: ignore[call-overload]
        )

    def run(self, *arguments: str, **more: object) -> tuple[int, str]:
        """Run one dataset job; return its exit code and output."""
        process = self.start(*arguments, **more)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def succeed(self, *arguments: str) -> str:
        """Run one dataset job that must work."""
        code, output = self.run(*arguments)
        assert code == 0, output
        return output

    def fail(self, *arguments: str) -> str:
        """Run one dataset job that must fail with an expected error; return its reason."""
        code, output = self.run(*arguments)
        assert code != 0, output
        assert "Traceback" not in output.rpartition("error: ")[2], output
        return (self.root / "reason").read_text()

    def build(self) -> None:
        """Build the dataset without interruption."""
        for arguments in (("init",), ("load", "--part", "1/1"), ("check",), ("finalise",)):
            self.succeed(*arguments)

    def copy(self, root: Path) -> Workshop:
        """The same state in another folder."""
        other = Workshop(root, self.python, self.library, self.name)
        shutil.copytree(self.work, other.work)
        recipe = (self.root / "suite" / "recipe" / f"{self.name}.yaml").read_text()
        other.deploy(recipe)
        return other


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
