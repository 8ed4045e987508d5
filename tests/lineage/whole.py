"""A suite of one real training, from the recipe to the catalogue, run job by job without ecFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolve import resolve
from ml_suite.config.resolved import Resolved
from ml_suite.layout import WorkTree
from ml_suite.stores.connections import Connections

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"
SUITE = "storm"
DATASET_JOBS = ("init", "load --part 1/1", "check", "finalise", "register", "upload", "transfer")
LAST_JOBS = ("evaluate", "register", "archive")


@dataclass(frozen=True)
class Suite:
    """One deployed suite and its jobs."""

    home: Path
    repository: Path
    """A git repository with recipe, training configuration and deployment."""
    resolved: Resolved
    library: Path

    @property
    def tree(self) -> WorkTree:
        return WorkTree.of(self.resolved, "local")

    @property
    def connections(self) -> Connections:
        return Connections.load(self.resolved.connections)

    @property
    def python(self) -> Path:
        return self.resolved.hosts["local"].environment / "bin" / "python"

    def job(self, words: str, **environment: str) -> tuple[int, str]:
        """Run a job; return its exit code and output."""
        done = subprocess.run(
            [self.python, "-m", "ml_suite.jobs", *words.split()],
            env={
                **os.environ,
                "ML_SUITE_RESOLVED": str(self.resolved.files / "resolved.json"),
                "ML_SUITE_HOST": "local",
                "PYTHONPATH": str(self.library),
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout

    def succeed(self, words: str) -> str:
        """Run a job that must work."""
        code, output = self.job(words)
        assert code == 0, output
        return output

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ml-suite in the repository."""
        program = Path(sys.executable).with_name("ml-suite")
        return subprocess.run(
            [program, *words],
            env={**os.environ, "ML_SUITE_HOME": str(self.home), "COLUMNS": "200"},
            cwd=self.repository,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def deploy(self, **training: Any) -> Suite:
        """Deploy again with other values of the section `training`."""
        return deploy(self.home, self.repository, self.library, **training)


def deploy(home: Path, repository: Path, library: Path, **training: Any) -> Suite:
    """Write the resolved deployment and the files that jobs read, as ``ml-suite deploy`` does."""
    file = repository / "deployment.yaml"
    values = {
        "suite": SUITE,
        "dataset": {"recipe": f"{NAME}.yaml", "sources": str(home / "sources"), "parts": 1},
        "training": {
            "config": "storm.yaml",
            "resources": {"cpus": 1, "walltime": "10m"},
            "epochs": 2,
            "overrides": {"model.num_channels": 8, "model.processor.num_layers": 1},
            **training,
        },
        "hosts": {"local": {"work": str(home / "work")}},
        "outputs": {"checkpoints": "s3://ml-weights/storm"},
    }
    with file.open("w") as f:
        YAML().dump(values, f)
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "--allow-empty", "-m", "Deploy")
    files = home / "suites" / SUITE
    resolved = resolve(Deployment.model_validate(values), file, files, home / "connections.json")
    for folder, source in (("recipe", f"{NAME}.yaml"), ("training", "storm.yaml")):
        (files / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / source, files / folder / source)
    (files / "resolved.json").write_text(resolved.model_dump_json())
    return Suite(home, repository, resolved, library)


def new_repository(folder: Path, checkout: Path) -> Path:
    """Make a git repository with the demo's recipe and training configuration."""
    folder.mkdir(parents=True)
    shutil.copy(checkout / "recipes" / f"{NAME}.yaml", folder)
    shutil.copy(checkout / "suites" / "demo" / "training" / "storm.yaml", folder)
    _git(folder, "init", "-q")
    return folder


def _git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True)
